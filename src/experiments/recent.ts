import { knownFor } from './ledger.js'

/** Ids of the last hour or two, each with who has it; of the last 200,000 where there are more. */
export class Recent {
  #current = new Map<string, string>()
  #previous = new Map<string, string>()
  #since = 0

  /** False when it is known. */
  add (id: string, time: number, holder = ''): boolean {
    if (this.holderOf(id) !== undefined) return false
    if (time - this.#since > knownFor || this.#current.size >= 200_000) {
      this.#previous = this.#current
      this.#current = new Map()
      this.#since = time
    }
    this.#current.set(id, holder)
    return true
  }

  /** Each with a time that is near enough for it to be as recent when it is added again, in this order. */
  * entries (): Generator<[id: string, holder: string, time: number]> {
    for (const [id, holder] of this.#previous) yield [id, holder, this.#since - knownFor - 1]
    for (const [id, holder] of this.#current) yield [id, holder, this.#since]
  }

  holderOf (id: string): string | undefined {
    return this.#current.get(id) ?? this.#previous.get(id)
  }
}
