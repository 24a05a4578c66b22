import type { EvaluationContext } from '../model/context.js'
import type { Snapshot } from './snapshot.js'

/**
 * What a compiled flag is asked about: who, when, and among which flags. `request.flags` is one.
 * `context` and `now` may be getters, so that flags which need neither cost neither.
 */
export interface Subject {
  /** A plain object: its prototype is Object.prototype or null. */
  readonly context: Readonly<EvaluationContext>
  /** Epoch milliseconds by the store's clock. */
  readonly now: number
  readonly snapshot: Snapshot
  readonly environment: string
}
