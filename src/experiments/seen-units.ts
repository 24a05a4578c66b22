import type { SeenBy, Trial } from '../evaluation/trial.js'

/** Of so many answers, which of them a unit was seen with is one number. */
const answersOfGroup = 30
/** So many units of a group are remembered at least, and twice as many at most; about 100 bytes each. */
const remembered = 25_000

/**
 * Which units this process has seen with which answers not long ago, so that a unit which comes again is not told of again until the
 * flag is written or restored. Only the first flag that a request reads costs a lookup: the further ones ask of the same unit.
 */
export class SeenUnits {
  #group = new Group()
  #answers = 0

  /** Hot. */
  has (unit: string, trial: Trial): boolean {
    const { group, bit } = trial.seenBy ?? this.#place(trial)
    return group.has(unit, bit)
  }

  add (unit: string, trial: Trial): void {
    const { group, bit } = trial.seenBy ?? this.#place(trial)
    group.add(unit, bit)
  }

  /** A group lasts as long as one of its answers does. */
  #place (trial: Trial): SeenBy {
    if (this.#answers === answersOfGroup) {
      this.#group = new Group()
      this.#answers = 0
    }
    trial.seenBy = { group: this.#group, bit: 1 << this.#answers++ }
    return trial.seenBy
  }
}

class Group {
  #recent = new Map<string, number>()
  #before = new Map<string, number>()
  // The unit that was asked for last:
  #unit = ''
  #bits = 0

  has (unit: string, bit: number): boolean {
    if (unit !== this.#unit) this.#turnTo(unit)
    return (this.#bits & bit) !== 0
  }

  add (unit: string, bit: number): void {
    if (unit !== this.#unit) this.#turnTo(unit)
    if (this.#recent.size >= remembered) {
      this.#before = this.#recent
      this.#recent = new Map()
    }
    this.#bits |= bit
    this.#recent.set(unit, this.#bits)
  }

  #turnTo (unit: string): void {
    this.#unit = unit
    this.#bits = this.#recent.get(unit) ?? this.#before.get(unit) ?? 0
  }
}
