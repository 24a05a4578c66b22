import { randomBytes } from 'node:crypto'
import type { Experiment } from '../model/experiment.js'
import type { Counts } from './counts.js'
import { hashOf, unitsKeptFor, type Addition, type Batch, type Claim, type Ledger, type Range, type Sums } from './ledger.js'
import { Recent } from './recent.js'
import { KeptSums } from './sums.js'
import { Tally, type Hashed } from './tally.js'

/** One experiment, and what keeps its units apart from those of others. */
export interface Kept { experiment: Pick<Experiment, 'id' | 'flag' | 'environment' | 'variants'>, salt: string, tally: Tally }

/** All that is counted in memory: experiments, each in one tally, and sums. */
export class Tallies {
  readonly kept = new Map<string, Kept>()
  readonly batches = new Recent()
  readonly events = new Recent()
  readonly sums = new KeptSums()

  open ({ id, flag, environment, variants, shares }: Experiment, salt: string = randomBytes(16).toString('hex')): Kept {
    let kept = this.kept.get(id)
    if (kept === undefined) this.kept.set(id, kept = { experiment: { id, flag, environment, variants }, salt, tally: new Tally(shares) })
    else if (!isSame(kept.tally.shares, shares)) kept.tally.shares = null
    return kept
  }

  /** The batch as it is kept: without units' names, and with reported exposures among its reads, each once. */
  hash ({ experiment, exposures, conversions, reads, time }: Batch, salt: string): Hashed {
    const named = (unit: string) => hashOf(salt, unit).toString('hex')
    const counted = { ...reads }
    const events: string[] = []
    for (const { id, variant } of exposures) {
      if (id === undefined) continue
      const event = named(id)
      if (!this.events.add(`${experiment.id} ${event}`, time)) continue
      events.push(event)
      counted[variant] = (counted[variant] ?? 0) + 1
    }
    return {
      exposures: exposures.map(({ unit, variant, time }) => ({ unit: named(unit), variant, time })),
      conversions: conversions.map(({ unit, goal, value, time }) => ({ unit: named(unit), goal, value, time })),
      reads: counted,
      events,
      time
    }
  }

  forget (now: number): void {
    for (const [id, { tally }] of this.kept) {
      tally.forgetBefore(now - unitsKeptFor)
      if (tally.lastTime < now - unitsKeptFor) this.kept.delete(id)
    }
    this.sums.forget(now)
  }

  read (experiment: Experiment, range: Range): Counts {
    const tally = this.kept.get(experiment.id)?.tally ?? new Tally(experiment.shares)
    return tally.counts(experiment, range)
  }
}

/** Counts for as long as the process lives. */
export class MemoryLedger implements Ledger {
  readonly settlesAfter = 0
  readonly #tallies = new Tallies()

  async record (batch: Batch): Promise<void> {
    if (!this.#tallies.batches.add(batch.id, batch.time)) return
    const { salt, tally } = this.#tallies.open(batch.experiment)
    tally.add(this.#tallies.hash(batch, salt))
  }

  async read (experiment: Experiment, range: Range = {}): Promise<Counts> {
    return this.#tallies.read(experiment, range)
  }

  async add ({ id: batch, of, numbers, time }: Addition): Promise<Sums> {
    this.#tallies.sums.add({ sums: of, batch, numbers, time })
    return this.#tallies.sums.of(of)
  }

  async sums (of: string): Promise<Sums> {
    return this.#tallies.sums.of(of)
  }

  async claim (claim: Claim): Promise<Set<string>> {
    const { fresh: ids, own } = this.#tallies.sums.ask(claim)
    this.#tallies.sums.take({ claimed: claim.of, by: claim.id, ids, time: claim.time })
    return own
  }

  async close (): Promise<void> {}
}

function isSame (a: Readonly<Record<string, number>> | null, b: Readonly<Record<string, number>> | null): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
