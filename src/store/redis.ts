import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { errors, type FlagsError } from '../errors.js'
import { RedisAsker } from './redis-asker.js'
import { connectorOf, hangUp, type Connector, type RedisConnection } from './redis-connection.js'
import { changeOf, loadAll, positionOf, revisionOf, type Entry } from './redis-documents.js'
import { isReply } from './redis-errors.js'
import { noteScript, resetScript, restorableScript, restoreScript, sourceOf, stage, stagingKey } from './redis-restore.js'
import { historyScript, readScript, writeScript } from './redis-scripts.js'
import { resetEpoch, type Change, type History, type HistoryQuery, type Kind, type Position, type Reading, type RestorableStore, type StoredDocument, type StoreEvent, type Write, type Written } from './store.js'

export interface RedisStoreOptions {
  redis: RedisConnection
  /** Separates the flags of several apps in one Redis. Default `flags`. All keys are `{<namespace>}:…`, so that they share a slot. */
  namespace?: string
  /** How many log entries are kept. Default 10,000. */
  history?: number
  /** Told, in one sentence, what an operator should know: a Redis that evicts keys, a missing permission. */
  warn?: (message: string) => void
}

const entriesAtOnce = 1000
const bytesAtOnce = 2_000_000
/** Milliseconds over which many processes that must load everything again, all at one moment, spread out. */
const reloadWithin = 500

/** Flags in Redis 6.2 or newer, or Valkey. */
export class RedisStore implements RestorableStore {
  /** What it was given, for what else is kept in the same place. */
  readonly place: Pick<RedisStoreOptions, 'redis' | 'namespace'>
  readonly #connector: Connector
  readonly #asker: RedisAsker
  readonly #keys: { base: string, documents: string, log: string, answers: string, channel: string }
  readonly #history: number
  readonly #warn: (message: string) => void
  readonly #warned = new Set<string>()
  readonly #loaders = new Set<Redis>()
  #wake: (() => void) | undefined
  #closing: Promise<unknown> | undefined

  constructor ({ redis, namespace = 'flags', history = 10_000, warn = () => {} }: RedisStoreOptions) {
    if (!/^[^{}\s]{1,100}$/.test(namespace)) {
      throw new errors.INVALID_OPTION('"namespace" must be 1 to 100 characters without spaces and braces')
    }
    if (!Number.isInteger(history) || history < 1) throw new errors.INVALID_OPTION('"history" must be a number of log entries, 1 or more')
    this.place = { redis, namespace }
    this.#connector = connectorOf(redis)
    const base = `${this.#connector.prefix}{${namespace}}`
    this.#keys = { base, documents: `${base}:documents`, log: `${base}:log`, answers: `${base}:answer:`, channel: `${base}:changes` }
    this.#history = history
    this.#warn = warn
    this.#asker = new RedisAsker(this.#connector, this.#keys.documents)
    this.#asker.client.on('message', () => this.#wake?.())
    this.#asker.client.on('ready', () => { this.#ready().catch(() => {}) })
  }

  async read (since?: Position): Promise<Reading> {
    let reply = await this.#readFrom(since)
    const changes: Array<Change | StoreEvent> = []
    for (;;) {
      const { answer, time, position, entries } = reply
      for (const entry of entries) changes.push(changeOf(entry))
      if (answer === 'changes') return { kind: 'changes', position, time, changes }
      if (answer !== 'more') {
        if (since?.epoch != null && position.epoch !== null) await pause(Math.random() * reloadWithin, undefined, { ref: false, signal: this.#asker.signal }).catch(() => {})
        const damaged: Array<{ kind: Kind, key: string }> = []
        return { kind: 'everything', position, time, lost: answer === 'lost', documents: position.epoch === null ? [] : this.#load(damaged), damaged }
      }
      const [id, fields] = entries.at(-1)!
      reply = await this.#readFrom({ epoch: position.epoch, revision: revisionOf(id), token: fields[3]! })
    }
  }

  async write ({ kind, key, document, expected, epoch, by, id }: Write): Promise<Written> {
    const keys = [this.#keys.documents, this.#keys.log, this.#keys.answers + id]
    const args = [kind, key, document === null ? 'remove' : 'put', document ?? '', expected, epoch ?? '', randomUUID(), randomUUID(),
      JSON.stringify(by), this.#history, this.#keys.channel]
    const [answer, version, ms] = await this.#asker.askSurely(writeScript, keys, args) as string[]
    if (answer === 'conflict') throw new errors.VERSION_CONFLICT(`${kind} ${key}`, version, expected)
    if (answer === 'foreign') throw new errors.FOREIGN_EPOCH()
    if (answer === 'damaged') throw this.#damaged()
    return { version: Number(version), time: Number(ms) }
  }

  async restore (position: Position, documents: Iterable<StoredDocument>): Promise<boolean> {
    const { source, next } = sourceOf(position)
    if (await this.#asker.ask(restorableScript, [this.#keys.documents], [source]) !== 1) return false
    const staged = stagingKey(this.#keys.base)
    const count = await stage(this.#asker.client, staged, documents).catch((error) => {
      this.#asker.client.unlink(staged).catch(() => {}) // it would also forget itself
      throw this.#asker.failure(error)
    })
    const args = [position.epoch ?? '', source, position.token ?? '', count, randomUUID(), JSON.stringify('restored'), next, this.#keys.channel]
    const answer = await this.#asker.ask(restoreScript, [this.#keys.documents, this.#keys.log, staged], args)
    if (answer === 'incomplete') throw new errors.STORE_UNAVAILABLE(`what was to be put back is gone again from Redis at ${this.#connector.place}`)
    return answer === 'restored'
  }

  async note ({ key, by, document }: Pick<StoreEvent, 'key' | 'by' | 'document'>, epoch: string): Promise<void> {
    const args = [epoch, key, document ?? '', JSON.stringify(by), randomUUID(), this.#history, this.#keys.channel]
    if (await this.#asker.ask(noteScript, [this.#keys.documents, this.#keys.log], args) === 'foreign') throw new errors.FOREIGN_EPOCH()
  }

  /** Removes all documents and the log, for good: no process puts anything back. Resolves to how many documents there were. */
  async reset (by: string): Promise<number> {
    const args = [resetEpoch + randomUUID(), randomUUID(), JSON.stringify(by), this.#keys.channel]
    return await this.#asker.ask(resetScript, [this.#keys.documents, this.#keys.log], args) as number
  }

  watch (wake: () => void): void {
    this.#wake = wake
  }

  async history ({ kind, key, before, after, limit }: HistoryQuery): Promise<History> {
    const oldestFirst = after !== undefined
    const low = after === undefined ? '-' : `(${after}-0`
    const high = before === undefined ? '+' : `(${before}-0`
    const changes: Array<Change | StoreEvent> = []
    let from = oldestFirst ? low : high
    for (;;) {
      const args = [oldestFirst ? 'XRANGE' : 'XREVRANGE', from, oldestFirst ? high : low, kind ?? '', key ?? '',
        limit - changes.length, entriesAtOnce, bytesAtOnce]
      const [oldest, last, entries] = await this.#asker.ask(historyScript, [this.#keys.log], args) as [string, string, Entry[]]
      for (const entry of entries) changes.push(changeOf(entry))
      if (last === '' || changes.length >= limit) return { changes: changes.slice(0, limit), beginsAt: revisionOf(oldest) }
      from = `(${last}`
    }
  }

  async close (): Promise<void> {
    this.#wake = undefined
    await (this.#closing ??= Promise.all([this.#asker.close(), ...Array.from(this.#loaders, hangUp)]))
  }

  /** A connection is up, again or for the first time: whatever was published meanwhile was missed. */
  async #ready (): Promise<void> {
    const { client } = this.#asker
    client.subscribe(this.#keys.channel).catch((error: Error) => {
      if (isReply(error)) this.#warnOnce(`Redis refuses to let this process subscribe to ${this.#keys.channel}: changes arrive with the next poll only (${error.message})`)
    })
    this.#wake?.()
    const info = await client.info()
    const version = /^redis_version:(\d+)\.(\d+)/m.exec(info)
    const tooOld = version !== null && (Number(version[1]) < 6 || (Number(version[1]) === 6 && Number(version[2]) < 2))
    this.#asker.unfit = tooOld ? new errors.STORE_UNAVAILABLE(`Redis at ${this.#connector.place} is version ${version[1]}.${version[2]}; 6.2 or newer is needed`) : undefined
    const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1]
    if (policy !== undefined && policy !== 'noeviction') {
      this.#warnOnce(`Redis at ${this.#connector.place} has maxmemory-policy ${policy}: once it is full it removes keys, flags among them, without a word; set it to noeviction`)
    }
  }

  /** What the read script answers. */
  async #readFrom (since: Position | undefined) {
    const keys = [this.#keys.documents, this.#keys.log]
    const args = [...since === undefined ? ['', '', ''] : [since.epoch ?? '', since.revision, since.token ?? ''], entriesAtOnce, bytesAtOnce]
    const reply = await this.#asker.ask(readScript, keys, args, isContinued)
    const [answer, ms, epoch, revision, token, entries] = reply as [string, string, string, string, string, Entry[]]
    if (answer === 'damaged') throw this.#damaged()
    return { answer, time: Number(ms), position: positionOf(epoch, revision, token), entries }
  }

  /** All documents, as they stand while they are read. */
  async * #load (damaged: Array<{ kind: Kind, key: string }>): AsyncGenerator<StoredDocument[]> {
    // A connection that subscribes is cut off when 32 MB wait for it; so this takes one of its own.
    if (this.#asker.signal.aborted) throw new errors.STORE_CLOSED()
    const loader = this.#connector.connect(this.#keys.documents, { retryStrategy: undefined })
    this.#loaders.add(loader)
    try {
      loader.on('error', (error: Error) => { this.#asker.noteLost(error) })
      await loader.connect()
      yield * loadAll(loader, this.#keys.documents, damaged)
    } catch (error) {
      throw this.#asker.failure(error)
    } finally {
      void hangUp(loader).then(() => this.#loaders.delete(loader))
    }
  }

  #damaged (): FlagsError {
    return new errors.STORE_DAMAGED(`The hash ${this.#keys.documents} at Redis ${this.#connector.place} has lost its @epoch, @revision or @token; restore it from a backup, or remove it to start anew`)
  }

  #warnOnce (message: string): void {
    if (this.#warned.has(message)) return
    this.#warned.add(message)
    this.#warn(message)
  }
}

/**
 * What a replica may say in the primary's place: that nothing has changed since a position, or what has. One that is behind, or
 * holds another history, is not listened to; the primary that comes will tell what became of it.
 */
function isContinued (reply: unknown): boolean {
  return /^(?:changes|more)$/.test((reply as string[])[0]!)
}
