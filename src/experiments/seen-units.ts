import type { Trial } from '../evaluation/trial.js'

/** About so many bytes are kept at least, and twice as many at most. */
const kept = 4_000_000
/** A unit, beside its text, with the first answer that it was seen with. */
const bytesOfUnit = 140
const bytesOfFurtherAnswer = 20

const none: Trial[] = []

/**
 * Which units this process has seen with which answers not long ago, so that a unit which comes again is not told of again.
 * Only the first flag that a request reads costs a lookup: the further ones ask of the same unit.
 */
export class SeenUnits {
  #recent = new Map<string, Trial[]>()
  #before = new Map<string, Trial[]>()
  #bytes = 0
  // The unit that was asked for last, and its answers of #recent:
  #unit = ''
  #trials = none

  /** Hot. */
  has (unit: string, trial: Trial): boolean {
    if (unit !== this.#unit) this.#turnTo(unit)
    const trials = this.#trials
    for (let i = 0; i < trials.length; i++) if (trials[i] === trial) return true // they are few: calling includes takes longer
    return this.#recalls(unit, trial)
  }

  add (unit: string, trial: Trial): void {
    if (this.#bytes >= kept) {
      this.#before = this.#recent
      this.#recent = new Map()
      this.#bytes = 0
    }
    const trials = this.#recent.get(unit)
    if (trials === undefined) this.#recent.set(unit, [trial])
    else trials.push(trial)
    this.#bytes += trials === undefined ? bytesOfUnit + unit.length : bytesOfFurtherAnswer
    this.#turnTo(unit)
  }

  /** Whether it was seen with the same answer before its flag was written last, or longer ago: that is remembered anew. */
  #recalls (unit: string, trial: Trial): boolean {
    const isSame = ({ experiment, variant }: Trial) => experiment.id === trial.experiment.id && variant === trial.variant
    const index = this.#trials.findIndex(isSame)
    if (index >= 0) this.#trials[index] = trial
    else if (this.#before.get(unit)?.some(isSame) === true) this.add(unit, trial)
    else return false
    return true
  }

  #turnTo (unit: string): void {
    this.#unit = unit
    this.#trials = this.#recent.get(unit) ?? none
  }
}
