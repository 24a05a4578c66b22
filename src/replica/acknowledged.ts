import type { Snapshot } from '../evaluation/snapshot.js'
import type { History, Kind, Store, Write, Written } from '../store/store.js'

/** A write that a store acknowledged to this process. */
export interface Acknowledged { kind: Kind, key: string, version: number, time: number, by: string | null, removed: boolean }

/** How many of the last writes are remembered: a store that goes back in time by more has lost far more than these. */
const most = 1000
/** How many are looked up at once. */
const atOnce = 50

/** What a store acknowledged to this process, to be found missing. */
export class Acknowledgements {
  #writes: Acknowledged[] = []

  add ({ kind, key, document, by }: Write, { version, time }: Written): void {
    this.#writes.push({ kind, key, version, time, by, removed: document === null })
    if (this.#writes.length > most) this.#writes.shift()
  }

  clear (): void {
    this.#writes = []
  }

  /** Those that the store does not know any more, going by its log, or where that does not reach back by its documents. Each is told once. */
  async lost (store: Store, snapshot: Snapshot): Promise<Acknowledged[]> {
    const writes = [...this.#writes]
    if (writes.length === 0) return []
    const [first] = (await store.history({ after: 0, limit: 1 })).changes
    const restoredFrom = first?.kind === 'store' && first.key === 'restored' ? (JSON.parse(first.document!) as { revision: number }).revision : Infinity
    const lost = new Set<Acknowledged>()
    for (let i = 0; i < writes.length; i += atOnce) {
      await Promise.all(writes.slice(i, i + atOnce).map(async (write) => {
        const history = await store.history({ after: write.version - 1, before: write.version + 1, limit: 1 })
        if (!isKnown(write, history, snapshot, restoredFrom)) lost.add(write)
      }))
    }
    this.#writes = this.#writes.filter((write) => !lost.has(write))
    return [...lost]
  }
}

function isKnown ({ kind, key, version, time, by, removed }: Acknowledged, { changes: [change], beginsAt }: History, snapshot: Snapshot, restoredFrom: number): boolean {
  if (change !== undefined) return change.kind === kind && change.key === key && change.time === time && change.by === by
  if (beginsAt !== 0 && version >= beginsAt) return false
  if (version > restoredFrom) return false
  const now = (kind === 'flag' ? snapshot.flag(key) : snapshot.segment(key))?.provenance
  if (now === undefined) return removed
  return now.version === version ? now.time === time && now.by === by : now.version > version
}
