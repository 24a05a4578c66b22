import { randomUUID } from 'node:crypto'
import { errors } from '../errors.js'
import type { Change, History, HistoryQuery, Position, Reading, Store, StoredDocument, Write, Written } from './store.js'

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
  readonly log: Log
  readonly #documents = new Map<string, StoredDocument>()
  readonly #answers = new Answers()

  /** `history` is how many log entries are kept. */
  constructor ({ history = 10_000 }: { history?: number } = {}) {
    this.log = new Log(history)
  }

  read (since?: Position): Reading {
    const { position } = this.log
    const time = Date.now()
    const known = this.log.since(since)
    if (Array.isArray(known)) return { kind: 'changes', position, time, changes: known.map((change) => ({ ...change })) }
    const documents = [...this.#documents.values()].map((document) => ({ ...document }))
    return { kind: 'everything', position, time, documents, damaged: [], lost: known === 'lost' }
  }

  write ({ kind, key, document, expected, epoch, by, id }: Write): Written {
    const answered = this.#answers.get(id)
    if (answered !== undefined) return answered
    if (epoch !== this.log.position.epoch) throw new errors.FOREIGN_EPOCH()
    const name = `${kind}:${key}`
    const current = this.#documents.get(name)?.version ?? 0
    if (current !== expected) throw new errors.VERSION_CONFLICT(`${kind} ${key}`, current, expected)
    const written = { version: this.log.position.revision + 1, time: Date.now() }
    if (document === null) this.#documents.delete(name)
    else this.#documents.set(name, { kind, key, ...written, by, document })
    this.log.append({ kind, key, ...written, by, document }, randomUUID(), epoch ?? randomUUID())
    this.#answers.set(id, written)
    for (const wake of this.watchers) queueMicrotask(wake)
    return written
  }

  /** Forgets everything, as a Redis does that is emptied or comes back without its data. */
  clear (): void {
    this.#documents.clear()
    this.log.clear()
    for (const wake of this.watchers) queueMicrotask(wake)
  }
}

/** The last changes in order, each with the token after it, and where they lead to. */
export class Log {
  position: Position = { epoch: null, revision: 0, token: null }
  readonly #length: number
  #entries: Array<{ change: Change, token: string }> = []

  constructor (length: number) {
    this.#length = length
  }

  append (change: Change, token: string, epoch: string): void {
    this.#entries.push({ change, token })
    if (this.#entries.length > this.#length) this.#entries.shift()
    this.position = { epoch, revision: change.version, token }
  }

  clear (): void {
    this.#entries = []
    this.position = { epoch: null, revision: 0, token: null }
  }

  /** The changes since a position; `reload` when it lies before the log, `lost` when it is not of this history. */
  since (since: Position | undefined): Change[] | 'reload' | 'lost' {
    const { epoch, revision, token } = this.position
    if (since === undefined) return 'reload'
    if (since.epoch !== epoch) return since.epoch === null ? 'reload' : 'lost'
    if (since.token === token) return []
    if (since.revision > revision) return 'lost'
    const index = this.#indexOf(since.revision)
    if (index < 0) return 'reload'
    if (this.#entries[index]!.token !== since.token) return 'lost'
    return this.#entries.slice(index + 1).map(({ change }) => change)
  }

  history ({ kind, key, before = Infinity, after, limit }: HistoryQuery): History {
    const changes: Change[] = []
    const count = this.#entries.length
    for (let i = 0; i < count && changes.length < limit; i++) {
      const { change } = this.#entries[after === undefined ? count - 1 - i : i]!
      const asked = (kind === undefined || change.kind === kind) && (key === undefined || change.key === key)
      if (asked && change.version < before && change.version > (after ?? 0)) changes.push({ ...change })
    }
    return { changes, beginsAt: this.#entries[0]?.change.version ?? 0 }
  }

  #indexOf (revision: number): number {
    return this.#entries.length === 0 ? -1 : revision - this.#entries[0]!.change.version
  }
}

/** What writes were answered, for a minute, so that the same write again applies nothing. */
export class Answers {
  readonly #answers = new Map<string, Written>()

  get (id: string): Written | undefined {
    return this.#answers.get(id)
  }

  set (id: string, written: Written): void {
    for (const [old, { time }] of this.#answers) {
      if (time > written.time - 60_000) break
      this.#answers.delete(old)
    }
    this.#answers.set(id, written)
  }
}
