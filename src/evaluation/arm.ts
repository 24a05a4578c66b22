import type { GuardedRollout } from '../model/guard.js'
import type { Trial } from './trial.js'

/**
 * The side of a guarded rollout that chance has drawn somebody to, at a stage. It belongs to outcomes of a compiled flag, and
 * keeps how requests of this process have ended, so that one more costs no lookup.
 */
export class Arm {
  /** How many requests have ended since what is counted here was last taken. */
  requests = 0
  /** Of these, those that failed. */
  failed = 0
  /** Of these, those that took too long. */
  slow = 0
  /** Milliseconds that are not too long yet. */
  readonly overMs: number

  /** `treated`: whether those of this side are in (rollout-hit); else they are not (rollout-miss). `trial` counts who was seen, where the guard watches a goal. */
  constructor (readonly rollout: GuardedRollout, readonly stage: number, readonly treated: boolean, readonly trial: Trial | undefined) {
    this.overMs = rollout.guard.latency?.overMs ?? Infinity
  }

  /** What has been counted since it was last taken. */
  take (): { requests: number, failed: number, slow: number } {
    const { requests, failed, slow } = this
    this.requests = this.failed = this.slow = 0
    return { requests, failed, slow }
  }
}
