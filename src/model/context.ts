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
 * A frozen, plain context of whatever a caller gave: a context, or just a targeting key. `more` wins over it.
 * Own properties only; a number where a text belongs is its text, one group may stand without a list, and what can't be
 * read as a targeting key, groups or a region counts as missing. Throws only what a caller's own getter throws.
 */
export function toContext (who: unknown, more?: unknown): EvaluationContext {
  const targetingKey = toText(who)
  const context: Record<string, ContextValue> = { ...(targetingKey === undefined ? toObject(who) : { targetingKey }), ...toObject(more) }
  if (typeof context.targetingKey !== 'string' && context.targetingKey !== undefined) context.targetingKey = toText(context.targetingKey)
  if (context.groups !== undefined) context.groups = toTexts(context.groups)
  if (typeof context.region !== 'string' && context.region !== undefined) context.region = toText(context.region)
  return Object.freeze(context) as EvaluationContext
}

function toObject (value: unknown): Record<string, ContextValue> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value as Record<string, ContextValue> : undefined
}

function toText (value: unknown): string | undefined {
  if (typeof value === 'string') return value
  return Number.isFinite(value) || typeof value === 'bigint' ? String(value) : undefined
}

function toTexts (value: unknown): string[] | undefined {
  const texts = (Array.isArray(value) ? value : [value]).map(toText).filter((text) => text !== undefined)
  return texts.length === 0 && !Array.isArray(value) ? undefined : texts
}
