import { randomUUID } from 'node:crypto'
import type { Experiment } from '../model/experiment.js'
import type { Batch, Conversion, Exposure } from './ledger.js'

/** Exposures, and conversions, of one batch: a script blocks Redis for some milliseconds at most. */
const atOnce = 1000

/** What waits to be recorded of one experiment. */
export class Queue {
  exposures: Exposure[] = []
  conversions: Array<Conversion & { arrived: number }> = []
  reads: Record<string, number> = {}
  /** Sent, and not known to be recorded: it is sent again as it is. */
  sent: Batch | undefined

  constructor (public experiment: Experiment) {}

  /** The next batch; undefined when there is nothing to be sent yet. Conversions of before `settled` are due, once no exposure waits. */
  next (settled: number, time: number): Batch | undefined {
    if (this.sent !== undefined) return this.sent
    const exposures = this.exposures.splice(0, atOnce)
    let due = 0
    if (this.exposures.length === 0) while (due < atOnce && due < this.conversions.length && this.conversions[due]!.arrived <= settled) due++
    const conversions = this.conversions.splice(0, due).map(({ arrived, ...conversion }) => conversion)
    const { reads } = this
    if (exposures.length === 0 && due === 0 && Object.keys(reads).length === 0) return undefined
    this.reads = {}
    return (this.sent = { id: randomUUID(), experiment: this.experiment, time, exposures, conversions, reads })
  }

  get isEmpty (): boolean {
    return this.sent === undefined && this.exposures.length === 0 && this.conversions.length === 0 && Object.keys(this.reads).length === 0
  }
}
