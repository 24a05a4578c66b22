import { randomUUID } from 'node:crypto'
import { watch as watchDirectory, type FSWatcher } from 'node:fs'
import { mkdir, realpath } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'
import { errors, isFlagsError, type FlagsError } from '../errors.js'
import { Contents, type LogEntry } from './contents.js'
import { FlagsFile, halfWritten, load } from './file-flags.js'
import { FileLock } from './file-lock.js'
import { LogFile } from './file-log.js'
import type { History, HistoryQuery, Position, Reading, Store, Write, Written } from './store.js'

export interface FileStoreOptions {
  /** The path of a JSON file `{ "flags": { … }, "segments": { … } }`; made, with its folders, when there is none. Its log stands beside it. */
  file: string
  /** How many log entries are kept. Default 10,000. */
  history?: number
}

interface PendingWrite { write: Write, resolve (written: Written): void, reject (error: Error): void }

/** Milliseconds between looks at the file, where the system does not tell of changes. */
const lookEvery = 1000
/** Milliseconds until a change that the system tells of is looked at: editors write in several steps. */
const settleIn = 20

/**
 * Flags in a file that a person can read, edit and keep under git. The first process to open it writes; others follow its
 * log, answer writes with READ_ONLY, and take over when the writer is gone.
 */
export class FileStore implements Store {
  /** The path of the file, absolute. */
  readonly file: string
  readonly #history: number
  readonly #contents: Contents
  #disk: { flags: FlagsFile, log: LogFile, lock: FileLock } | undefined
  #role: 'writer' | 'follower' | undefined
  #watcher: FSWatcher | undefined
  #timer: NodeJS.Timeout | undefined
  #notice: NodeJS.Timeout | undefined
  #wake: (() => void) | undefined
  /** The token last read, and the problem last found: what is different is news. */
  #told: string | null | undefined
  #problem = ''
  /** One thing at a time happens to the files. */
  #turn: Promise<unknown> = Promise.resolve()
  #writes: PendingWrite[] = []
  #closed = false

  constructor ({ file, history = 10_000 }: FileStoreOptions) {
    if (typeof file !== 'string' || file === '') throw new errors.INVALID_OPTION('"file" must be the path of a JSON file')
    if (!Number.isInteger(history) || history < 1) throw new errors.INVALID_OPTION('"history" must be a number of log entries, 1 or more')
    this.file = resolve(file)
    this.#history = history
    this.#contents = new Contents(history)
    this.#timer = setInterval(() => { void this.#look() }, lookEvery)
    this.#timer.unref()
  }

  /** Whether another process writes the file. */
  get follows (): boolean {
    return this.#role === 'follower'
  }

  async read (since?: Position): Promise<Reading> {
    return await this.#inTurn(async () => {
      await this.#refresh()
      this.#told = this.#contents.log.position.token
      return this.#contents.read(since)
    })
  }

  async write (write: Write): Promise<Written> {
    if (this.#closed) throw new errors.STORE_CLOSED()
    return await new Promise((resolve, reject) => {
      this.#writes.push({ write, resolve, reject })
      // What comes while others are being written is written together with one fsync.
      if (this.#writes.length === 1) void this.#inTurn(() => this.#writeAll()).catch(() => {})
    })
  }

  watch (wake: () => void): void {
    this.#wake = wake
  }

  async history (query: HistoryQuery): Promise<History> {
    return await this.#inTurn(async () => {
      await this.#refresh()
      return this.#contents.log.history(query)
    })
  }

  async close (): Promise<void> {
    this.#closed = true
    this.#wake = undefined
    clearInterval(this.#timer)
    clearTimeout(this.#notice)
    for (const { reject } of this.#writes.splice(0)) reject(new errors.STORE_CLOSED())
    await this.#turn
    this.#watcher?.close()
    await this.#disk?.lock.release()
  }

  async #inTurn<T> (task: () => Promise<T>): Promise<T> {
    const run = this.#turn.then(async () => {
      if (this.#closed) throw new errors.STORE_CLOSED()
      try {
        return await task()
      } catch (error) {
        throw this.#failure(error)
      }
    })
    this.#turn = run.catch(() => {})
    return await run
  }

  /** Brings `contents` up to what the files say. */
  async #refresh (): Promise<void> {
    const { flags, log, lock } = this.#disk ??= await this.#reach()
    if (this.#role === 'writer' && await lock.isOurs()) {
      await flags.adopt()
    } else if (await lock.take()) {
      this.#role = undefined
      await flags.open()
      this.#role = 'writer'
    } else {
      const more = this.#role === 'follower' ? await log.next() : undefined
      if (more !== undefined) {
        for (const entry of more.entries) this.#contents.apply(entry, more.epoch ?? this.#contents.log.position.epoch!)
      } else if (await log.exists()) {
        const { epoch, base, entries } = await log.load()
        load(this.#contents, epoch, base, entries)
      }
      this.#role = 'follower'
    }
  }

  /** Finds where the file really is, and watches its folder. */
  async #reach () {
    await mkdir(dirname(this.file), { recursive: true })
    // Behind a symbolic link, lest the link be replaced by a file.
    const path = await realpath(this.file).catch(() => this.file)
    const names = [basename(path), `${basename(path)}.log`]
    try {
      this.#watcher = watchDirectory(dirname(path), { persistent: false }, (_, name) => {
        if (name !== null && !names.includes(name)) return
        clearTimeout(this.#notice)
        this.#notice = setTimeout(() => { void this.#look() }, settleIn)
      })
      this.#watcher.on('error', () => {}) // the timer looks all the same
    } catch {
      this.#watcher = undefined
    }
    const log = new LogFile(`${path}.log`)
    return { log, flags: new FlagsFile(path, log, this.#contents), lock: new FileLock(`${path}.lock`) }
  }

  /** Looks whether the files say something new, good or bad. */
  async #look (): Promise<void> {
    if (this.#closed || this.#wake === undefined) return
    const problem = await this.#inTurn(() => this.#refresh()).then(() => '', (error: Error) => error.message)
    if (this.#contents.log.position.token !== this.#told || problem !== this.#problem) this.#wake?.()
    this.#problem = problem
    // Perhaps half written: then it is soon whole, or to be reported.
    if (this.#disk?.flags.damage !== undefined && problem === '') this.#notice = setTimeout(() => { void this.#look() }, 2 * halfWritten)
  }

  async #writeAll (): Promise<void> {
    const pending = this.#writes.splice(0)
    try {
      await this.#refresh()
      for (let attempt = 1; !await this.#tryAll(pending); attempt++) {
        if (attempt === 5) throw new errors.STORE_UNAVAILABLE(`${this.file} keeps being changed by others`)
        await this.#refresh()
      }
      this.#wake?.()
    } catch (error) {
      for (const { reject } of pending) reject(this.#failure(error))
    }
  }

  /** Writes what may be written of these, all at once, and answers each; false when the file was edited meanwhile. */
  async #tryAll (pending: PendingWrite[]): Promise<boolean> {
    const { flags, lock } = this.#disk!
    if (this.#role !== 'writer') throw new errors.READ_ONLY(`${this.file} is written by ${await lock.holder()}`)
    if (flags.damage !== undefined) throw flags.damage
    const { answers, log: { position } } = this.#contents
    const entries: LogEntry[] = []
    const versions = new Map<string, number>()
    const outcomes: Array<() => void> = []
    let epoch = position.epoch
    for (const { write, resolve, reject } of pending) {
      const { kind, key, document, by, id } = write
      const answered = answers.get(id) ?? entries.find((entry) => entry.id === id)?.change
      if (answered !== undefined) {
        outcomes.push(() => resolve({ version: answered.version, time: answered.time }))
        continue
      }
      try {
        if (write.epoch !== epoch) throw new errors.FOREIGN_EPOCH()
        this.#contents.assertVersion(write, versions.get(`${kind}:${key}`))
      } catch (error) {
        outcomes.push(() => reject(error as Error))
        continue
      }
      epoch ??= randomUUID()
      const written = { version: position.revision + entries.length + 1, time: Date.now() }
      entries.push({ change: { kind, key, ...written, by, document }, token: randomUUID(), id })
      versions.set(`${kind}:${key}`, document === null ? 0 : written.version)
      outcomes.push(() => resolve(written))
    }
    if (entries.length > 0 && !await flags.save(entries, epoch!)) return false
    for (const settle of outcomes) settle()
    await flags.compact(this.#history).catch(() => {}) // tried again after the next write
    return true
  }

  #failure (error: unknown): FlagsError {
    if (isFlagsError(error)) return error
    return new errors.STORE_UNAVAILABLE(error instanceof Error ? error.message : String(error))
  }
}
