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
