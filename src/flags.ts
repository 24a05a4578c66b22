import type { ErrorCode, ResolutionDetails } from './evaluation/details.js'
import type { Evaluate } from './evaluation/compile.js'
import type { Snapshot } from './evaluation/snapshot.js'
import type { Subject } from './evaluation/subject.js'
import type { EvaluationContext } from './model/context.js'
import { jsonTypeOf, type JsonValue } from './model/json.js'
import type { Replica } from './replica.js'

/**
 * The flags an app knows and the types of their values; merge your own into it, and keys and values are checked:
 * `declare module 'fastify-flags' { interface FlagTypes { 'new-checkout': boolean } }`
 */
export interface FlagTypes {}

export type FlagKey = keyof FlagTypes extends never ? string : Extract<keyof FlagTypes, string>
export type FlagValue<K> = K extends keyof FlagTypes ? FlagTypes[K] : JsonValue

/** The flags as one user sees them: `request.flags`, or what `fastify.flags.for(…)` gives. One snapshot and one now for its whole life. */
export class Flags implements Subject {
  readonly snapshot: Snapshot
  readonly environment: string
  readonly #replica: Replica
  #context: EvaluationContext | (() => EvaluationContext)
  #now: number | undefined

  /** `context` may be a function, called when a flag first needs it. */
  constructor (replica: Replica, environment: string, context: EvaluationContext | (() => EvaluationContext)) {
    this.snapshot = replica.snapshot
    this.environment = environment
    this.#replica = replica
    this.#context = context
  }

  get context (): EvaluationContext {
    if (typeof this.#context === 'function') this.#context = this.#context()
    return this.#context
  }

  get now (): number {
    return (this.#now ??= this.#replica.now())
  }

  /** Whether the flag is on for this context; `fallback` when it cannot be said. */
  isEnabled (key: FlagKey, fallback = false): boolean {
    const evaluate = this.#evaluator(key)
    return evaluate === undefined ? fallback : evaluate(this).enabled ?? fallback
  }

  /** The flag's value for this context; `fallback` when there is none of its type. */
  getValue<K extends FlagKey> (key: K, fallback: FlagValue<K>): FlagValue<K> {
    return this.getDetails(key, fallback).value
  }

  /** The value with OpenFeature's resolution details: which variant, why, and what went wrong. */
  getDetails<K extends FlagKey> (key: K, fallback: FlagValue<K>): ResolutionDetails<FlagValue<K>> {
    const evaluate = this.#evaluator(key)
    if (evaluate === undefined) return failure(fallback, 'FLAG_NOT_FOUND', `there is no flag ${key}`)
    const { details } = evaluate(this)
    if (details.errorCode !== undefined) return failure(fallback, details.errorCode, details.errorMessage!)
    if (fallback !== undefined && jsonTypeOf(details.value) !== jsonTypeOf(fallback)) {
      return failure(fallback, 'TYPE_MISMATCH', `the flag's values are of type ${jsonTypeOf(details.value)}`)
    }
    return details as ResolutionDetails<FlagValue<K>>
  }

  #evaluator (key: string): Evaluate | undefined {
    return this.snapshot.flag(key)?.evaluator(this.environment)
  }
}

function failure<T> (value: T, errorCode: ErrorCode, errorMessage: string): ResolutionDetails<T> {
  return { value, reason: 'ERROR', errorCode, errorMessage, flagMetadata: {} }
}
