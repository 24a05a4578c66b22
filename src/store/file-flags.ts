import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { errors } from '../errors.js'
import { parseJson, type JsonValue } from '../model/json.js'
import type { Contents, LogEntry } from './contents.js'
import { assertValid } from './file-check.js'
import { isMissing, look, removeStrays, replaceFile } from './file-disk.js'
import { settled } from './file-edit.js'
import type { LogFile } from './file-log.js'
import { FlagsText } from './file-text.js'
import type { Kind } from './store.js'

/** How long a file that cannot be read may be one that somebody is just writing, in milliseconds. */
export const halfWritten = 300

/** The flags file and its log, in the hands of the one process that writes them. What they hold is in `contents`. */
export class FlagsFile {
  readonly path: string
  readonly #log: LogFile
  readonly #contents: Contents
  /** The file as this process last read or wrote it. */
  #source = ''
  #text = new FlagsText('{}')
  #signature: string | undefined
  #damage: { signature: string | undefined, since: number, error: Error } | undefined

  constructor (path: string, log: LogFile, contents: Contents) {
    this.path = path
    this.#log = log
    this.#contents = contents
  }

  /** Why the file as it stands cannot be used. */
  get damage (): Error | undefined {
    return this.#damage?.error
  }

  /** Begins to write: makes the file if there is none, settles what a killed writer left, and takes over what was edited meanwhile. */
  async open (): Promise<void> {
    this.#damage = undefined
    await removeStrays(dirname(this.path), [this.path, this.#log.path])
    const { epoch, pendingEpoch, base, entries, pending } = await this.#log.load()
    let found = await look(this.path)
    if (found === undefined) {
      if (epoch !== null) throw this.#gone()
      found = await replaceFile(this.path, '{\n  "flags": {}\n}\n')
    }
    const source = await readFile(this.path, 'utf8')
    const text = this.#parse(source)
    load(this.#contents, epoch, base, entries)
    if (pending.length > 0 && holds(text, pending)) {
      await this.#log.apply(pending)
      for (const entry of pending) this.#contents.apply(entry, pendingEpoch!)
    } else if (this.#log.isTorn) {
      await this.#log.drop()
    }
    this.#text = new FlagsText('{}')
    this.#source = ''
    await this.#take(text, source, found?.signature)
  }

  /** Takes over what was edited by hand. Throws STORE_DAMAGED once a file that cannot be read stays so. */
  async adopt (): Promise<void> {
    const found = await look(this.path)
    if (found !== undefined && found.signature === this.#signature) {
      this.#damage = undefined
      return
    }
    if (this.#damage === undefined || this.#damage.signature !== found?.signature) {
      try {
        const source = await readFile(this.path, 'utf8')
        await this.#take(this.#parse(source), source, found?.signature)
        this.#damage = undefined
        return
      } catch (error) {
        if (!(error instanceof errors.STORE_DAMAGED) && !isMissing(error)) throw error
        const since = this.#damage?.since ?? performance.now()
        this.#damage = { signature: found?.signature, since, error: isMissing(error) ? this.#gone() : error as Error }
      }
    }
    if (performance.now() - this.#damage.since > halfWritten) throw this.#damage.error
  }

  /** Makes changes, or nothing: then because the file was edited meanwhile (false) or could not be written (throws). */
  async save (entries: LogEntry[], epoch: string): Promise<boolean> {
    await this.#mendLog()
    try {
      for (const { change: { kind, key, document } } of entries) this.#text.set(kind, key, document)
      const source = this.#text.toString()
      await this.#log.append(entries, { ...this.#beginning(epoch), applied: false })
      const replaced = await replaceFile(this.path, source, async () => (await look(this.path))?.signature === this.#signature)
      if (replaced === undefined) {
        await this.#undo()
        return false
      }
      this.#source = source
      this.#signature = replaced.signature
    } catch (error) {
      await this.#undo()
      throw error
    }
    await this.#log.apply(entries).catch(() => {}) // the change stands; the next start finds that it does
    for (const entry of entries) this.#contents.apply(entry, epoch)
    return true
  }

  /** Shortens the log when it holds twice what is kept. */
  async compact (length: number): Promise<void> {
    if (this.#log.changes >= 2 * length) await this.#rewriteLog()
  }

  /** Makes what a text says that is new to `contents` changes by `file`. */
  async #take (text: FlagsText, source: string, signature: string | undefined): Promise<void> {
    const entries = source === this.#source ? [] : this.#differences(text)
    if (entries.length > 0) {
      assertValid(this.path, text, entries.map(({ change }) => change))
      const epoch = this.#contents.log.position.epoch ?? randomUUID()
      await this.#mendLog()
      try {
        await this.#log.append(entries, { ...this.#beginning(epoch), applied: true })
      } catch (error) {
        await this.#log.drop().catch(() => {})
        throw error
      }
      for (const entry of entries) this.#contents.apply(entry, epoch)
    }
    this.#text = text
    this.#source = source
    this.#signature = signature
  }

  #differences (text: FlagsText): LogEntry[] {
    const entries: LogEntry[] = []
    const time = Date.now()
    const change = (kind: Kind, key: string, document: string | null) => {
      const version = this.#contents.log.position.revision + entries.length + 1
      entries.push({ change: { kind, key, version, time, by: 'file', document }, token: randomUUID(), id: null })
    }
    const found = new Set<string>()
    for (const { kind, key, text: written } of text.documents()) {
      found.add(`${kind}:${key}`)
      if (written === this.#text.get(kind, key)) continue
      const document = canonical(written)
      const known = this.#contents.documents.get(`${kind}:${key}`)
      const before = known && canonical(known.document)
      if (before === document) continue
      const edited = kind === 'flag' ? settled(document, before, time) : document
      if (edited !== before) change(kind, key, edited)
    }
    for (const [name, { kind, key }] of this.#contents.documents) if (!found.has(name)) change(kind, key, null)
    return entries
  }

  #parse (source: string): FlagsText {
    const parsed = parseJson(source)
    if ('details' in parsed) {
      const [{ path, message }] = parsed.details as [{ path: string, message: string }]
      throw new errors.STORE_DAMAGED(`${this.path} is not valid JSON: ${path === '' ? '' : `${path} `}${message}`)
    }
    for (const [name, value] of [['', parsed.value], ['flags', field(parsed.value, 'flags')], ['segments', field(parsed.value, 'segments')]] as const) {
      if (value === undefined || isObject(value)) continue
      throw new errors.STORE_DAMAGED(`${this.path} must hold an object ${name === '' ? 'such as { "flags": { "my-flag": { "enabled": true } } }' : `in "${name}", from key to document`}`)
    }
    return new FlagsText(source)
  }

  /** Somebody removed or changed the log, or a write left a torn end: what it should hold is known here. */
  async #mendLog (): Promise<void> {
    if (this.#log.isTorn || !await this.#log.isKnown()) await this.#rewriteLog()
  }

  async #rewriteLog (): Promise<void> {
    const { log, documents } = this.#contents
    const oldest = log.entries[0]?.change.version ?? 0
    const base = [...documents.values()].filter(({ version }) => version < oldest)
    await this.#log.rewrite(log.position.epoch, base, log.entries)
  }

  async #undo (): Promise<void> {
    this.#text = new FlagsText(this.#source)
    await this.#log.drop().catch(() => {}) // tried again before the next append, or at the next start
  }

  /** The epoch's line, when changes begin it. */
  #beginning (epoch: string): { epoch?: string } {
    return this.#contents.log.position.epoch === null ? { epoch } : {}
  }

  #gone (): Error {
    return new errors.STORE_DAMAGED(`${this.path} is gone, but its log ${basename(this.#log.path)} is there; restore the file, or remove the log too to begin anew`)
  }
}

/** Sets what a log says; without an epoch nothing was ever written. */
export function load (contents: Contents, epoch: string | null, base: LoadedDocuments, entries: LogEntry[]): void {
  contents.clear()
  for (const document of base) contents.documents.set(`${document.kind}:${document.key}`, document)
  for (const entry of entries) contents.apply(entry, epoch!)
}
type LoadedDocuments = Awaited<ReturnType<LogFile['load']>>['base']

/** True when the text is as it is after these changes. */
function holds (text: FlagsText, entries: LogEntry[]): boolean {
  const last = new Map(entries.map(({ change }) => [`${change.kind}:${change.key}`, change]))
  return [...last.values()].every(({ kind, key, document }) => {
    const written = text.get(kind, key)
    return written === undefined || document === null ? written === undefined && document === null : canonical(written) === canonical(document)
  })
}

/** The same text for the same JSON, however it is spaced. */
function canonical (text: string): string {
  return JSON.stringify(JSON.parse(text))
}

function isObject (value: JsonValue): value is { [key: string]: JsonValue } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function field (value: JsonValue, name: string): JsonValue | undefined {
  return isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined
}
