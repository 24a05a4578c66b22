import type { Trial } from '../evaluation/trial.js'

/** So many sightings are remembered at least, and twice as many at most: about 150 bytes for a unit, and 8 for each answer it was seen with. */
const remembered = 20_000

const none: Trial[] = []

/**
 * Which units this process has seen with which answers not long ago, so that a unit which comes again is not told of again.
 * Only the first flag that a request reads costs a lookup: the further ones ask of the same unit.
 */
export class SeenUnits {
  #recent = new Map<string, Trial[]>()
  #before = new Map<string, Trial[]>()
  #sightings = 0
  // The unit that was asked for last, and its answers of #recent:
  #unit = ''
  #trials = none

  /** Hot. */
  has (unit: string, trial: Trial): boolean {
    if (unit !== this.#unit) this.#turnTo(unit)
    const trials = this.#trials
    for (let i = 0; i < trials.length; i++) if (trials[i] === trial) return true // they are few: calling includes takes longer
    return this.#before.get(unit)?.includes(trial) ?? false
  }

  add (unit: string, trial: Trial): void {
    if (this.#sightings++ >= remembered) {
      this.#before = this.#recent
      this.#recent = new Map()
      this.#sightings = 1
    }
    const trials = this.#recent.get(unit)
    if (trials === undefined) this.#recent.set(unit, [trial])
    else trials.push(trial)
    this.#turnTo(unit)
  }

  #turnTo (unit: string): void {
    this.#unit = unit
    this.#trials = this.#recent.get(unit) ?? none
  }
}
