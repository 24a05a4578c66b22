import { setTimeout as sleep } from 'node:timers/promises'
import { errors, type FlagsError } from '../errors.js'
import type { Snapshot } from '../evaluation/snapshot.js'
import { isRestorable, type Store, type Write, type Written } from '../store/store.js'
import { Acknowledgements } from './acknowledged.js'
import { heldDocuments, type Known } from './documents.js'

/** How recently what is put back into an emptied store must have been in sync with it; milliseconds. */
const restorableFor = 600_000

/** At most how long one waits before it puts something back, so that not all do it at once; milliseconds. */
const restoreWithin = 200

/** How long writes that were lost are the problem, unless there is a newer one; milliseconds. */
const regretFor = 3_600_000

/** How many lost writes a message names. */
const mostNamed = 20

/** A moment by both clocks: one stands still while the machine sleeps, the other may be set back. */
export interface Moment { wall: number, monotonic: number }

/** What a process does about a store that lost what it had taken. */
export class Losses {
  readonly #store: Store
  readonly #restores: boolean
  readonly #acknowledged = new Acknowledgements()
  /** To be set when the store was read anew: writes may be missing. */
  suspected = false
  #regret: { error: FlagsError, until: number } | undefined

  /** `restores` says whether this process may put things back. */
  constructor (store: Store, restores: boolean) {
    this.#store = store
    this.#restores = restores
  }

  /** Notes what the store acknowledged to this process. */
  note (write: Write, written: Written): void {
    this.#acknowledged.add(write, written)
  }

  /** Nothing that was there before is missed: it was removed on purpose. */
  forget (): void {
    this.#acknowledged.clear()
  }

  /** Writes that were lost, for an hour. */
  get problem (): FlagsError | null {
    return this.#regret !== undefined && performance.now() < this.#regret.until ? this.#regret.error : null
  }

  mayRestore (syncedAt: Moment | null): boolean {
    if (!this.#restores || !isRestorable(this.#store) || syncedAt === null) return false
    return Math.max(Date.now() - syncedAt.wall, performance.now() - syncedAt.monotonic) <= restorableFor
  }

  /** Puts back what is held, if the store agrees that it is missing. Resolves to what was done, in words, or null. */
  async restore ({ position, snapshot }: Known, emptied: boolean): Promise<FlagsError | null> {
    if (!isRestorable(this.#store)) return null
    if (emptied) await sleep(Math.random() * restoreWithin)
    if (!await this.#store.restore(position!, heldDocuments(snapshot))) return null
    return new errors.STORE_RESTORED(position!.revision, [...snapshot.flags()].length + [...snapshot.segments()].length)
  }

  /** Finds which writes are missing, says so, and tells the store's log of them. To be called again after it rejected. */
  async reckon (snapshot: Snapshot, epoch: string | null, say: (problem: FlagsError) => void): Promise<void> {
    const lost = await this.#acknowledged.lost(this.#store, snapshot)
    this.suspected = false
    if (lost.length === 0) return
    const named = lost.slice(0, mostNamed).map(({ kind, key, version, removed }) => `${kind} ${key} (${removed ? 'removed as ' : ''}version ${version})`)
    if (lost.length > mostNamed) named.push(`and ${lost.length - mostNamed} more`)
    const error = new errors.WRITES_LOST(lost.length, named.join(', '))
    this.#regret = { error, until: performance.now() + regretFor }
    say(error)
    if (!isRestorable(this.#store) || epoch === null) return
    const writes = lost.map(({ kind, key, version, by }) => ({ kind, key, version, by }))
    await this.#store.note({ key: 'lost', by: 'fastify-flags', document: JSON.stringify({ writes }) }, epoch)
  }
}
