import type { SeenBy, Trial } from '../evaluation/trial.js'

/** Of so many answers, what was seen of a unit is one number. */
const answersOfGroup = 30
/** So many units of a group are remembered at least, and twice as many at most; about 100 bytes each. */
const remembered = 25_000
/** After so many all is forgotten: experiments come and go. */
const mostGroups = 8

/**
 * Which units this process has seen with which answers not long ago, so that a unit which comes again is not told of again, though
 * its flag was written meanwhile. Only the first flag that a request reads costs a lookup: the further ones ask of the same unit.
 */
export class SeenUnits {
  #seenBy = new Map<string, SeenBy>()
  #group = new Group()

  /** Hot. */
  has (unit: string, trial: Trial): boolean {
    const { group, bit } = trial.seenBy ?? this.#place(trial)
    return group.has(unit, bit)
  }

  add (unit: string, trial: Trial): void {
    const { group, bit } = trial.seenBy ?? this.#place(trial)
    group.add(unit, bit)
  }

  #place (trial: Trial): SeenBy {
    const answer = `${trial.experiment.id} ${trial.variant}`
    let seenBy = this.#seenBy.get(answer)
    if (seenBy === undefined) {
      if (this.#seenBy.size === answersOfGroup * mostGroups) this.#seenBy.clear()
      const index = this.#seenBy.size % answersOfGroup
      if (index === 0) this.#group = new Group()
      this.#seenBy.set(answer, seenBy = { group: this.#group, bit: 1 << index })
    }
    trial.seenBy = seenBy
    return seenBy
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
    this.#bits |= bit
    this.#keep()
  }

  #turnTo (unit: string): void {
    const recent = this.#recent.get(unit)
    this.#unit = unit
    this.#bits = recent ?? this.#before.get(unit) ?? 0
    if (recent === undefined && this.#bits !== 0) this.#keep()
  }

  #keep (): void {
    if (this.#recent.size >= remembered) {
      this.#before = this.#recent
      this.#recent = new Map()
    }
    this.#recent.set(this.#unit, this.#bits)
  }
}
