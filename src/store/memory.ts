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
    const { position, log, documents } = this.#memory
    const time = Date.now()
    if (since !== undefined && since.epoch === position.epoch) {
      if (since.token === position.token) return { kind: 'changes', position, time, changes: [] }
      const known = since.revision === 0 ? since.token === null : log[since.revision - 1]?.token === since.token
      if (known) return { kind: 'changes', position, time, changes: log.slice(since.revision).map(({ change }) => ({ ...change })) }
    }
    return {
      kind: 'everything',
      position,
      time,
      documents: [...documents.values()].map((document) => ({ ...document })),
      damaged: [],
      lost: since !== undefined && since.epoch !== null
    }
  }

  async write (write: Write): Promise<Written> {
    this.#assertOpen()
    return this.#memory.write(write)
  }

  watch (wake: () => void): void {
    this.#wake = wake
    this.#memory.watchers.add(wake)
  }

  async history ({ kind, key, before = Infinity, after, limit }: HistoryQuery): Promise<History> {
    this.#assertOpen()
    const { log } = this.#memory
    const changes = log.map(({ change }) => ({ ...change })).filter((change) =>
      (kind === undefined || change.kind === kind) && (key === undefined || change.key === key) &&
      change.version < before && change.version > (after ?? 0))
    if (after === undefined) changes.reverse()
    return { changes: changes.slice(0, limit), beginsAt: log.length === 0 ? 0 : 1 }
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
  position: Position = { epoch: null, revision: 0, token: null }
  readonly documents = new Map<string, StoredDocument>()
  readonly log: Array<{ token: string, change: Change }> = []
  readonly watchers = new Set<() => void>()
  readonly #applied = new Map<string, Written>()

  write ({ kind, key, document, expected, epoch, by, id }: Write): Written {
    const applied = this.#applied.get(id)
    if (applied !== undefined) return applied
    if (epoch !== this.position.epoch) throw new errors.FOREIGN_EPOCH()
    const name = `${kind}:${key}`
    const current = this.documents.get(name)?.version ?? 0
    if (current !== expected) throw new errors.VERSION_CONFLICT(`${kind} ${key}`, current, expected)
    const version = this.position.revision + 1
    const time = Date.now()
    const token = randomUUID()
    if (document === null) this.documents.delete(name)
    else this.documents.set(name, { kind, key, version, time, by, document })
    this.log.push({ token, change: { kind, key, version, time, by, document } })
    this.position = { epoch: epoch ?? randomUUID(), revision: version, token }
    const written = { version, time }
    this.#applied.set(id, written)
    setTimeout(() => this.#applied.delete(id), 60_000).unref()
    for (const wake of this.watchers) queueMicrotask(wake)
    return written
  }
}
