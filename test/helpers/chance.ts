/** A stream of chance that is the same for the same seed. */
export class Chance {
  #state: number

  constructor (seed: number) {
    this.#state = seed >>> 0
  }

  /** From 0 up to, not including, 1. */
  next (): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }

  below (limit: number): number {
    return Math.floor(this.next() * limit)
  }

  one<T> (list: readonly T[]): T {
    return list[this.below(list.length)]!
  }

  happens (probability: number): boolean {
    return this.next() < probability
  }

  /** How many of `count` happen, each with this probability: from one that does to the next. */
  binomial (count: number, probability: number): number {
    let happened = 0
    for (let i = 0; ; happened++) {
      i += 1 + Math.floor(Math.log(1 - this.next()) / Math.log(1 - probability))
      if (i > count) return happened
    }
  }
}
