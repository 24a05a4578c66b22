import { EventEmitter } from 'node:events'
import { isFlagsError, errors, type FlagsError } from './errors.js'
import { FlagEntry, SegmentEntry, Snapshot } from './evaluation/snapshot.js'
import type { Change, Position, Store, StoredDocument } from './store/store.js'

/** NOT_READY: nothing loaded yet. READY: in sync. STALE: serving what was last known (or bootstrap). */
export type Status = 'NOT_READY' | 'READY' | 'STALE'

export interface ReplicaOptions {
  store: Store
  /** How long without contact until STALE; milliseconds. */
  staleAfter?: number
  /** Milliseconds between polls, the safety net and heartbeat beside the store's wake-ups. */
  pollInterval?: number
}

export interface ChangeEvent { revision: number, flags: string[], segments: string[] }

export interface ReplicaEvents {
  change: [ChangeEvent]
  ready: []
  stale: []
  problem: [FlagsError]
}

/** One process's copy of a store: a snapshot, moved forward by the log. */
export class Replica extends EventEmitter<ReplicaEvents> {
  snapshot: Snapshot = Snapshot.empty()
  status: Status = 'NOT_READY'
  /** Epoch milliseconds of this process's clock. */
  lastSyncedAt: number | null = null
  problem: FlagsError | null = null

  readonly store: Store
  readonly #staleAfter: number
  readonly #pollInterval: number
  #position: Position | undefined
  #clockOffset = 0
  #timer: NodeJS.Timeout | undefined
  #syncing: Promise<void> | undefined
  #again = false
  #closed = false

  constructor ({ store, staleAfter = 5000, pollInterval = 1000 }: ReplicaOptions) {
    super()
    this.store = store
    this.#staleAfter = staleAfter
    this.#pollInterval = pollInterval
  }

  get revision (): number {
    return this.#position?.revision ?? 0
  }

  /** The epoch last read; a write names it. */
  get epoch (): string | null {
    return this.#position?.epoch ?? null
  }

  /** The store's clock, epoch milliseconds; it does not run ahead of the last contact by more than `staleAfter`. */
  now (): number {
    const local = Date.now()
    return this.#clockOffset + (this.lastSyncedAt === null ? local : Math.min(local, this.lastSyncedAt + this.#staleAfter))
  }

  /** Begins to follow the store. Resolves after the first attempt to load, successful or not. */
  async start (): Promise<void> {
    this.store.watch(() => { void this.sync() })
    await this.sync()
    this.#timer = setInterval(() => { void this.sync() }, this.#pollInterval)
    this.#timer.unref()
  }

  /** Reads what is new. Never rejects: a failure is in `problem`. One read at a time; a call during one causes another. */
  sync (): Promise<void> {
    if (this.#syncing !== undefined) {
      this.#again = true
      return this.#syncing
    }
    this.#syncing = this.#follow().finally(() => { this.#syncing = undefined })
    return this.#syncing
  }

  async close (): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    await this.store.close()
  }

  async #follow (): Promise<void> {
    do {
      this.#again = false
      try {
        await this.#read()
        this.lastSyncedAt = Date.now()
        this.problem = null
        this.#become('READY')
      } catch (error) {
        if (this.#closed) return
        this.problem = isFlagsError(error) ? error : new errors.STORE_UNAVAILABLE(String(error))
        this.emit('problem', this.problem)
        if (this.lastSyncedAt !== null && Date.now() - this.lastSyncedAt > this.#staleAfter) this.#become('STALE')
      }
    } while (this.#again && !this.#closed)
  }

  async #read (): Promise<void> {
    const reading = await this.store.read(this.#position)
    this.#clockOffset = reading.time - Date.now()
    if (reading.kind === 'changes') this.#apply(reading.changes)
    else this.#apply(reading.documents)
    this.#position = reading.position
  }

  #apply (changes: Array<Change | StoredDocument>): void {
    const flags = new Map<string, FlagEntry | undefined>()
    const segments = new Map<string, SegmentEntry | undefined>()
    for (const { kind, key, document, version, time, by } of changes) {
      const parsed = document === null ? undefined : JSON.parse(document)
      if (kind === 'flag') flags.set(key, parsed && new FlagEntry(key, parsed, { version, time, by }))
      else segments.set(key, parsed && new SegmentEntry(key, parsed, { version, time, by }))
    }
    if (flags.size + segments.size === 0) return
    this.snapshot = this.snapshot.with(flags, segments)
    this.emit('change', { revision: this.revision, flags: [...flags.keys()], segments: [...segments.keys()] })
  }

  #become (status: 'READY' | 'STALE'): void {
    if (this.status === status) return
    this.status = status
    this.emit(status === 'READY' ? 'ready' : 'stale')
  }
}
