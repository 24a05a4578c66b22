import { errors } from '../errors.js'
import type { LogEntry } from './contents.js'
import { appendFile, isMissing, look, readFrom, replaceFile, truncateFile } from './file-disk.js'
import type { Kind, StoredDocument } from './store.js'

/*
 * The log of a flags file: JSON lines.
 *   { "log": 1, "epoch" }                                            first, once
 *   { "version", "time", "kind", "key", "by", "document", "base": true }   documents whose change has been trimmed away
 *   { "version", "time", "kind", "key", "by", "document", "token", "id" }  changes; document is a text, so that no byte is lost, or null
 *   { "applied": version }                                           the flags file holds all changes up to here
 * Changes are written first, then the flags file, then `applied`: changes without it may not have reached the flags file.
 */
interface Line extends Partial<Record<'log' | 'version' | 'time' | 'applied', number>> {
  epoch?: string
  kind?: Kind
  key?: string
  by?: string | null
  document?: string | null
  base?: true
  token?: string
  id?: string | null
}

export interface LoadedLog {
  epoch: string | null
  /** The epoch that pending entries would begin, else `epoch`. */
  pendingEpoch: string | null
  /** Documents as they were before the first entry. */
  base: StoredDocument[]
  entries: LogEntry[]
  /** Entries whose changes the flags file may not hold. */
  pending: LogEntry[]
}

const nothing: LoadedLog = { epoch: null, pendingEpoch: null, base: [], entries: [], pending: [] }

/** The file of a log, and up to where this process knows it. */
export class LogFile {
  readonly path: string
  /** The file as it was when last read or written. */
  #signature: string | undefined
  #file: string | undefined
  #size = 0
  /** Bytes up to the last `applied`. */
  #applied = 0
  /** Lines, and changes among them, up to the last `applied`. */
  #lines = 0
  #changes = 0

  constructor (path: string) {
    this.path = path
  }

  /** Reads all of it. Throws STORE_DAMAGED when a line that was once complete cannot be read. */
  async load (): Promise<LoadedLog> {
    this.#size = this.#applied = this.#lines = this.#changes = 0
    return await this.next() ?? nothing
  }

  /** Reads what others appended since; undefined when it was replaced meanwhile and must be loaded anew, or is not there. */
  async next (): Promise<LoadedLog | undefined> {
    try {
      const found = await look(this.path)
      const isNew = this.#applied > 0 && found?.file !== this.#file
      this.#signature = found?.signature
      this.#file = found?.file
      if (found === undefined || isNew || found.size < this.#applied) return undefined
      const bytes = await readFrom(this.path, this.#applied)
      this.#size = this.#applied + bytes.length
      return this.#parse(bytes)
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  async exists (): Promise<boolean> {
    return await look(this.path) !== undefined
  }

  /** True when the file is as this process last saw it. */
  async isKnown (): Promise<boolean> {
    return (await look(this.path))?.signature === this.#signature
  }

  /** Adds changes, through to the disk. `epoch` is the one they begin. `applied` says that the flags file holds them already. */
  async append (entries: readonly LogEntry[], { epoch, applied }: { epoch?: string, applied: boolean }): Promise<void> {
    const lines: object[] = entries.map(lineOf)
    if (epoch !== undefined) lines.unshift({ log: 1, epoch })
    if (applied) lines.push(markOf(entries))
    await this.#write(lines, true)
    if (applied) this.#settle(lines.length, entries.length)
  }

  /** Notes that the flags file holds all that was appended. Needs no fsync: without it the next start compares. */
  async apply (entries: readonly LogEntry[]): Promise<void> {
    await this.#write([markOf(entries)], false)
    this.#settle(entries.length + 1, entries.length)
  }

  /** Takes back what was appended and not applied, complete or torn. */
  async drop (): Promise<void> {
    await truncateFile(this.path, this.#applied)
    this.#size = this.#applied
    await this.#remember()
  }

  /** True when something stands after the last `applied`. */
  get isTorn (): boolean {
    return this.#size > this.#applied
  }

  /** How many changes the file holds. */
  get changes (): number {
    return this.#changes
  }

  /** Replaces the log by a shorter one, or, without an epoch, by none. */
  async rewrite (epoch: string | null, base: StoredDocument[], entries: readonly LogEntry[]): Promise<void> {
    const lines = epoch === null ? [] : [{ log: 1, epoch }, ...base.map((document) => ({ ...document, base: true })), ...entries.map(lineOf), markOf(entries)]
    const text = textOf(lines)
    await replaceFile(this.path, text)
    await this.#remember()
    this.#size = Buffer.byteLength(text)
    this.#lines = this.#changes = 0
    this.#settle(lines.length, entries.length)
  }

  async #write (lines: object[], sync: boolean): Promise<void> {
    this.#size = await appendFile(this.path, textOf(lines), sync)
    await this.#remember()
  }

  async #remember (): Promise<void> {
    const found = await look(this.path)
    this.#signature = found?.signature
    this.#file = found?.file
  }

  #settle (lines: number, changes: number): void {
    this.#applied = this.#size
    this.#lines += lines
    this.#changes += changes
  }

  #parse (bytes: Buffer): LoadedLog {
    const loaded: LoadedLog = { epoch: null, pendingEpoch: null, base: [], entries: [], pending: [] }
    const start = this.#applied
    let lines = 0
    let failure: Error | undefined
    for (let at = 0, end = bytes.indexOf(10); end !== -1; at = end + 1, end = bytes.indexOf(10, at)) {
      lines++
      const line = readLine(bytes.toString('utf8', at, end))
      if (line === undefined) {
        // Fatal only if what comes after it was once applied: otherwise it is the torn end of a write that did not finish.
        failure ??= new errors.STORE_DAMAGED(`${this.path}:${this.#lines + lines}: this line of the log cannot be read; restore the log from a backup, or move it away to begin a new history with the flags as they are`)
        continue
      }
      if (line.log !== undefined && line.log !== 1) throw new errors.STORE_DAMAGED(`${this.path} was written by a newer version of fastify-flags; upgrade this process`)
      if (line.applied !== undefined) {
        if (failure !== undefined) throw failure
        for (const entry of loaded.pending) loaded.entries.push(entry)
        this.#changes += loaded.pending.length
        loaded.pending = []
        loaded.epoch = loaded.pendingEpoch
        this.#applied = start + end + 1
        this.#lines += lines
        lines = 0
      } else if (line.epoch !== undefined) {
        loaded.pendingEpoch = line.epoch
      } else if (line.base === true) {
        loaded.base.push(documentOf(line))
      } else if (failure === undefined) {
        loaded.pending.push({ change: documentOf(line), token: line.token!, id: line.id ?? null })
      }
    }
    return loaded
  }
}

function readLine (text: string): Line | undefined {
  try {
    const line: Line | null = JSON.parse(text)
    return typeof line === 'object' && line !== null ? line : undefined
  } catch {
    return undefined
  }
}

function documentOf ({ kind, key, version, time, by, document }: Line): StoredDocument {
  return { kind: kind!, key: key!, version: version!, time: time!, by: by ?? null, document: document! }
}

function lineOf ({ change: { version, time, kind, key, by, document }, token, id }: LogEntry) {
  return { version, time, kind, key, by, document, token, id }
}

function markOf (entries: readonly LogEntry[]) {
  return { applied: entries.at(-1)?.change.version ?? 0 }
}

function textOf (lines: object[]): string {
  return lines.map((line) => JSON.stringify(line) + '\n').join('')
}
