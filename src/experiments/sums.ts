import { hashOf, knownFor, unitsKeptFor, type Addition, type Claim, type Sums } from './ledger.js'
import { Recent } from './recent.js'

/** An addition as it is written to a file; without `batch`, what earlier ones came to. */
export interface AdditionLine { sums: string, batch?: string, numbers: Sums, time: number }
/** Ids that a claim got, by their hashes, in hexadecimal. */
export interface ClaimLine { claimed: string, by: string, ids: string[], time: number }

/** Of so many names numbers are kept, those last added to. */
const mostNames = 1000

/** Numbers added up in memory. */
export class KeptSums {
  readonly #kept = new Map<string, { sums: Sums, time: number }>()
  readonly #batches = new Recent()
  readonly #claims = new Recent()

  knows ({ id }: Addition): boolean {
    return this.#batches.holderOf(id) !== undefined
  }

  add ({ sums: of, batch, numbers, time }: AdditionLine): void {
    if (batch !== undefined && !this.#batches.add(batch, time)) return
    const sums: Record<string, number> = { ...this.of(of) }
    for (const [name, number] of Object.entries(numbers)) sums[name] = (sums[name] ?? 0) + number
    this.#kept.delete(of)
    this.#kept.set(of, { sums, time })
    if (this.#kept.size > mostNames) this.#kept.delete(this.#kept.keys().next().value!)
  }

  of (of: string): Sums {
    return this.#kept.get(of)?.sums ?? {}
  }

  /** Which of the ids the claim gets that it does not have yet, and all that are its own. */
  ask ({ id: by, of, ids }: Claim): { fresh: string[], own: Set<string> } {
    const fresh: string[] = []
    const own = new Set<string>()
    for (const id of ids) {
      const hash = hashOf(of, id).toString('hex')
      const holder = this.#claims.holderOf(`${of} ${hash}`)
      if (holder === undefined) fresh.push(hash)
      if (holder === undefined || holder === by) own.add(id)
    }
    return { fresh, own }
  }

  take ({ claimed, by, ids, time }: ClaimLine): void {
    for (const hash of ids) this.#claims.add(`${claimed} ${hash}`, time, by)
  }

  forget (now: number): void {
    for (const [of, { time }] of this.#kept) if (time < now - unitsKeptFor) this.#kept.delete(of)
  }

  /** What there is, without the claims that are over. */
  * lines (now: number): Generator<AdditionLine | ClaimLine> {
    for (const [sums, { sums: numbers, time }] of this.#kept) yield { sums, numbers, time }
    const claims = new Map<string, ClaimLine>()
    for (const [name, by, time] of this.#claims.entries()) {
      if (time < now - 2 * knownFor) continue
      const [claimed, hash] = name.split(' ') as [string, string]
      const known = claims.get(by)
      if (known === undefined) claims.set(by, { claimed, by, ids: [hash], time })
      else known.ids.push(hash)
    }
    yield * claims.values()
  }
}
