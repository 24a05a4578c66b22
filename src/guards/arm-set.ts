import type { Arm } from '../evaluation/arm.js'

/**
 * Arms that a request was given, one of each guarded rollout. What a set becomes with an arm more is made once, so that requests
 * which were given the same arms have the same set: they keep no list of their own, and are counted in one step when they end.
 */
export class ArmSet {
  /** How many requests with this set have ended and are not yet counted for its arms. */
  requests = 0
  /** Milliseconds that are not too long yet for any of the arms. */
  readonly overMs: number
  readonly #arm: Arm | undefined
  readonly #rest: ArmSet | undefined
  readonly #larger: ArmSet[] = []

  /** The empty set; or `rest` and an arm more. */
  constructor (arm?: Arm, rest?: ArmSet) {
    this.#arm = arm
    this.#rest = rest
    this.overMs = Math.min(arm?.overMs ?? Infinity, rest?.overMs ?? Infinity)
  }

  /** The set that has this arm as well; this one, where it has one of the same rollout. Hot. */
  with (arm: Arm): ArmSet {
    const larger = this.#larger
    for (let i = 0; i < larger.length; i++) if (larger[i]!.#arm === arm) return larger[i]!
    for (const { rollout } of this) if (rollout === arm.rollout) return this
    const made = new ArmSet(arm, this)
    larger.push(made)
    return made
  }

  /** A request has ended. */
  count (failed: boolean, milliseconds: number): void {
    this.requests++
    if (!failed && milliseconds <= this.overMs) return
    for (const arm of this) {
      if (failed) arm.failed++
      if (milliseconds > arm.overMs) arm.slow++
    }
  }

  /** Forgets what it became with more arms, so that sets which no request has any more go. */
  forget (): void {
    for (const set of this.#larger) set.forget()
    this.#larger.length = 0
  }

  * [Symbol.iterator] (): Generator<Arm, void> {
    for (let set: ArmSet = this; set.#rest !== undefined; set = set.#rest) yield set.#arm!
  }
}
