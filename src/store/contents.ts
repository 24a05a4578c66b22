import { errors } from '../errors.js'
import type { Change, History, HistoryQuery, Position, Reading, StoredDocument, Write, Written } from './store.js'

/** A change, the store's token after it, and the id of the write it came from (null: a hand edit). */
export interface LogEntry { change: Change, token: string, id: string | null }

/** What a store in this process's memory holds: the documents, the log and the answers to writes. */
export class Contents {
  readonly documents = new Map<string, StoredDocument>()
  readonly log: Log
  readonly answers = new Answers()

  constructor (history: number) {
    this.log = new Log(history)
  }

  read (since?: Position): Reading {
    const { position } = this.log
    const time = Date.now()
    const known = this.log.since(since)
    if (Array.isArray(known)) return { kind: 'changes', position, time, changes: known.map((change) => ({ ...change })) }
    const documents = [...this.documents.values()].map((document) => ({ ...document }))
    return { kind: 'everything', position, time, documents, damaged: [], lost: known === 'lost' }
  }

  /** Throws VERSION_CONFLICT unless the document is at the version a write expects. `current` is its version if not what is held. */
  assertVersion ({ kind, key, expected }: Write, current = this.documents.get(`${kind}:${key}`)?.version ?? 0): void {
    if (current !== expected) throw new errors.VERSION_CONFLICT(`${kind} ${key}`, current, expected)
  }

  apply (entry: LogEntry, epoch: string): void {
    const { kind, key, document, ...rest } = entry.change
    if (document === null) this.documents.delete(`${kind}:${key}`)
    else this.documents.set(`${kind}:${key}`, { kind, key, document, ...rest })
    this.log.append(entry, epoch)
    if (entry.id !== null) this.answers.set(entry.id, { version: rest.version, time: rest.time })
  }

  clear (): void {
    this.documents.clear()
    this.log.clear()
  }
}

/** The last changes in order, each with the token after it, and where they lead to. */
export class Log {
  position: Position = { epoch: null, revision: 0, token: null }
  readonly #length: number
  #entries: LogEntry[] = []

  constructor (length: number) {
    this.#length = length
  }

  get entries (): readonly LogEntry[] {
    return this.#entries
  }

  append (entry: LogEntry, epoch: string): void {
    this.#entries.push(entry)
    if (this.#entries.length > this.#length) this.#entries.shift()
    this.position = { epoch, revision: entry.change.version, token: entry.token }
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
