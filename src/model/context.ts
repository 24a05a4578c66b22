import type { JsonValue } from './json.js'

/** What is known of who asks: OpenFeature's flat evaluation context. Any other own property is an attribute. */
export interface EvaluationContext {
  /** Who asks; what draws hash unless they say `by`. */
  targetingKey?: string
  groups?: readonly string[]
  region?: string
  [attribute: string]: ContextValue
}

export type ContextValue = JsonValue | Date | undefined | readonly ContextValue[] | { readonly [key: string]: ContextValue }

/**
 * A plain context of its own of whatever a caller gave: a context, or just a targeting key; `more` wins over it.
 * Own properties only; a number where a text belongs is its text, one group may stand without a list, and what can't be
 * read as a targeting key, groups or a region counts as missing. Throws only what a caller's own getter throws.
 */
export function toContext (who: unknown, more?: unknown): EvaluationContext {
  // Hot: once for each request that reads a flag. Freezing it would cost ten times as much as all the rest.
  const own = isObject(who) ? who : toUser(who)
  const context: Record<string, ContextValue> = isObject(more) ? { ...own, ...more } : { ...own }
  const { targetingKey, groups, region } = context
  if (typeof targetingKey !== 'string' && targetingKey !== undefined) context.targetingKey = toText(targetingKey)
  if (groups !== undefined) context.groups = toTexts(groups)
  if (typeof region !== 'string' && region !== undefined) context.region = toText(region)
  return context as EvaluationContext
}

function isObject (value: unknown): value is Record<string, ContextValue> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function toUser (who: unknown): Record<string, ContextValue> | undefined {
  const targetingKey = toText(who)
  return targetingKey === undefined ? undefined : { targetingKey }
}

function toText (value: unknown): string | undefined {
  if (typeof value === 'string') return value
  return Number.isFinite(value) || typeof value === 'bigint' ? String(value) : undefined
}

function toTexts (value: unknown): readonly string[] | undefined {
  if (!Array.isArray(value)) {
    const text = toText(value)
    return text === undefined ? undefined : [text]
  }
  return value.every((item) => typeof item === 'string') && Object.isFrozen(value) ? value : value.map(toText).filter((text) => text !== undefined)
}
