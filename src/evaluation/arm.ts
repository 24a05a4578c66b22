import type { GuardedRollout } from '../model/guard.js'
import type { Trial } from './trial.js'

/** The side of a guarded rollout that chance has drawn somebody to, at a stage. It belongs to outcomes of a compiled flag. */
export interface Arm {
  readonly rollout: GuardedRollout
  readonly stage: number
  /** Whether those of this side are in (rollout-hit); else they are not (rollout-miss). */
  readonly treated: boolean
  /** Counts who was seen, where the guard watches a goal. */
  readonly trial: Trial | undefined
}
