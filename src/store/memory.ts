import { randomUUID } from 'node:crypto'
import { errors } from '../errors.js'
import { Contents, type Log } from './contents.js'
import type { History, HistoryQuery, Position, Reading, Store, Write, Written } from './store.js'

/** A store that lives and dies with its process: for tests, and for trying things. Stores may share one `Memory`. */
export class MemoryStore implements Store {
  readonly #memory: Memory
  #wake: (() => void) | undefined
  #closed = false

  constructor (memory: Memory = new Memory()) {
    this.#memory = memory
  }

  async read (since?: Position): Promise<Reading> {
    this.#assertOpen()
    return this.#memory.read(since)
  }

  async write (write: Write): Promise<Written> {
    this.#assertOpen()
    return this.#memory.write(write)
  }

  watch (wake: () => void): void {
    if (this.#closed) return
    if (this.#wake !== undefined) this.#memory.watchers.delete(this.#wake)
    this.#wake = wake
    this.#memory.watchers.add(wake)
  }

  async history (query: HistoryQuery): Promise<History> {
    this.#assertOpen()
    return this.#memory.log.history(query)
  }

  async close (): Promise<void> {
    this.#closed = true
    if (this.#wake !== undefined) this.#memory.watchers.delete(this.#wake)
  }

  #assertOpen (): void {
    if (this.#closed) throw new errors.STORE_CLOSED()
  }
}

/** What a memory store holds; pass one to several stores to let them share it, as processes share Redis. */
export class Memory {
  readonly watchers = new Set<() => void>()
  readonly #contents: Contents

  /** `history` is how many log entries are kept. */
  constructor ({ history = 10_000 }: { history?: number } = {}) {
    this.#contents = new Contents(history)
  }

  read (since?: Position): Reading {
    return this.#contents.read(since)
  }

  write (write: Write): Written {
    const answered = this.#contents.answers.get(write.id)
    if (answered !== undefined) return answered
    const { epoch, revision } = this.#contents.log.position
    if (write.epoch !== epoch) throw new errors.FOREIGN_EPOCH()
    this.#contents.assertVersion(write)
    const written = { version: revision + 1, time: Date.now() }
    const { kind, key, by, document, id } = write
    this.#contents.apply({ change: { kind, key, ...written, by, document }, token: randomUUID(), id }, epoch ?? randomUUID())
    this.#wakeAll()
    return written
  }

  get log (): Log {
    return this.#contents.log
  }

  /** Forgets everything, as a Redis does that is emptied or comes back without its data. */
  clear (): void {
    this.#contents.clear()
    this.#wakeAll()
  }

  #wakeAll (): void {
    for (const wake of this.watchers) queueMicrotask(wake)
  }
}
