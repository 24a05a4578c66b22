import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { errors, type FlagsError } from '../errors.js'
import { connectorOf, hangUp, type Connector, type RedisConnection } from './redis-connection.js'
import { changeOf, loadAll, positionOf, revisionOf, type Entry } from './redis-documents.js'
import { isReply, reasonOf, storeError, wasElsewhere, wasNotSent } from './redis-errors.js'
import { noteScript, resetScript, restorableScript, restoreScript, sourceOf, stage, stagingKey } from './redis-restore.js'
import { evaluate, historyScript, readScript, writeScript, type RedisScript } from './redis-scripts.js'
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
/** Milliseconds that a first call waits for the first connection. */
const openingWithin = 2000
/** Milliseconds after which a write is answered, by then with what is known of its outcome. */
const outcomeWithin = 1700

/**
 * Milliseconds since the primary's last answer for which a replica's counts in its place: enough for a failover, and not so
 * many that a rollout goes on long while nobody could stop it.
 */
const replicaCounts = 10_000
/** Milliseconds after which a read asks a replica, too. */
const answersSoon = 500

/** Flags in Redis 6.2 or newer, or Valkey. */
export class RedisStore implements RestorableStore {
  /** What it was given, for what else is kept in the same place. */
  readonly place: Pick<RedisStoreOptions, 'redis' | 'namespace'>
  readonly #connector: Connector
  readonly #client: Redis
  readonly #keys: { base: string, documents: string, log: string, answers: string, channel: string }
  readonly #history: number
  readonly #warn: (message: string) => void
  readonly #warned = new Set<string>()
  readonly #opening: Promise<void>
  readonly #loaders = new Set<Redis>()
  #wake: (() => void) | undefined
  #unreachable: string | undefined
  #unfit: FlagsError | undefined
  #answeredAt = -Infinity
  readonly #ending = new AbortController()
  #closed = false
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
    this.#client = this.#connector.connect(this.#keys.documents)
    this.#client.on('error', (error: Error) => { this.#unreachable = error.message })
    this.#client.on('message', () => this.#wake?.())
    this.#client.on('ready', () => { this.#ready().catch(() => {}) })
    // Whoever asks at once waits for the first attempt to connect; later a lost connection is an error at once.
    this.#opening = new Promise((resolve) => {
      for (const event of ['ready', 'error', 'close', 'end']) this.#client.once(event, resolve)
      setTimeout(resolve, openingWithin).unref()
    })
    this.#client.connect().catch(() => {})
  }

  async read (since?: Position): Promise<Reading> {
    let reply = await this.#readFrom(since)
    const changes: Array<Change | StoreEvent> = []
    for (;;) {
      const { answer, time, position, entries } = reply
      for (const entry of entries) changes.push(changeOf(entry))
      if (answer === 'changes') return { kind: 'changes', position, time, changes }
      if (answer !== 'more') {
        if (since?.epoch != null && position.epoch !== null) await pause(Math.random() * reloadWithin, undefined, { ref: false, signal: this.#ending.signal }).catch(() => {})
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
    const [answer, version, ms] = await this.#askSurely(writeScript, keys, args) as string[]
    if (answer === 'conflict') throw new errors.VERSION_CONFLICT(`${kind} ${key}`, version, expected)
    if (answer === 'foreign') throw new errors.FOREIGN_EPOCH()
    if (answer === 'damaged') throw this.#damaged()
    return { version: Number(version), time: Number(ms) }
  }

  async restore (position: Position, documents: Iterable<StoredDocument>): Promise<boolean> {
    const { source, next } = sourceOf(position)
    if (await this.#ask(restorableScript, [this.#keys.documents], [source]) !== 1) return false
    const staged = stagingKey(this.#keys.base)
    const count = await stage(this.#client, staged, documents).catch((error) => {
      this.#client.unlink(staged).catch(() => {}) // it would also forget itself
      throw this.#failure(error)
    })
    const args = [position.epoch ?? '', source, position.token ?? '', count, randomUUID(), JSON.stringify('restored'), next, this.#keys.channel]
    const answer = await this.#ask(restoreScript, [this.#keys.documents, this.#keys.log, staged], args)
    if (answer === 'incomplete') throw new errors.STORE_UNAVAILABLE(`what was to be put back is gone again from Redis at ${this.#connector.place}`)
    return answer === 'restored'
  }

  async note ({ key, by, document }: Pick<StoreEvent, 'key' | 'by' | 'document'>, epoch: string): Promise<void> {
    const args = [epoch, key, document ?? '', JSON.stringify(by), randomUUID(), this.#history, this.#keys.channel]
    if (await this.#ask(noteScript, [this.#keys.documents, this.#keys.log], args) === 'foreign') throw new errors.FOREIGN_EPOCH()
  }

  /** Removes all documents and the log, for good: no process puts anything back. Resolves to how many documents there were. */
  async reset (by: string): Promise<number> {
    const args = [resetEpoch + randomUUID(), randomUUID(), JSON.stringify(by), this.#keys.channel]
    return await this.#ask(resetScript, [this.#keys.documents, this.#keys.log], args) as number
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
      const [oldest, last, entries] = await this.#ask(historyScript, [this.#keys.log], args) as [string, string, Entry[]]
      for (const entry of entries) changes.push(changeOf(entry))
      if (last === '' || changes.length >= limit) return { changes: changes.slice(0, limit), beginsAt: revisionOf(oldest) }
      from = `(${last}`
    }
  }

  async close (): Promise<void> {
    this.#closed = true
    this.#ending.abort()
    this.#wake = undefined
    await (this.#closing ??= Promise.all([this.#client, ...this.#loaders].map(hangUp)))
  }

  /** A connection is up, again or for the first time: whatever was published meanwhile was missed. */
  async #ready (): Promise<void> {
    this.#unreachable = undefined
    this.#client.subscribe(this.#keys.channel).catch((error: Error) => {
      if (isReply(error)) this.#warnOnce(`Redis refuses to let this process subscribe to ${this.#keys.channel}: changes arrive with the next poll only (${error.message})`)
    })
    this.#wake?.()
    const info = await this.#client.info()
    const version = /^redis_version:(\d+)\.(\d+)/m.exec(info)
    const tooOld = version !== null && (Number(version[1]) < 6 || (Number(version[1]) === 6 && Number(version[2]) < 2))
    this.#unfit = tooOld ? new errors.STORE_UNAVAILABLE(`Redis at ${this.#connector.place} is version ${version[1]}.${version[2]}; 6.2 or newer is needed`) : undefined
    const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1]
    if (policy !== undefined && policy !== 'noeviction') {
      this.#warnOnce(`Redis at ${this.#connector.place} has maxmemory-policy ${policy}: once it is full it removes keys, flags among them, without a word; set it to noeviction`)
    }
  }

  /** What the read script answers. */
  async #readFrom (since: Position | undefined) {
    const keys = [this.#keys.documents, this.#keys.log]
    const args = [...since === undefined ? ['', '', ''] : [since.epoch ?? '', since.revision, since.token ?? ''], entriesAtOnce, bytesAtOnce]
    const reply = await this.#ask(readScript, keys, args, this.#connector.askReplica && (() => this.#heardOf(keys, args)))
    const [answer, ms, epoch, revision, token, entries] = reply as [string, string, string, string, string, Entry[]]
    if (answer === 'damaged') throw this.#damaged()
    return { answer, time: Number(ms), position: positionOf(epoch, revision, token), entries }
  }

  /**
   * What a replica can say while the primary says nothing: that nothing has changed since a position, or what has. One that
   * is behind, or holds another history, is not listened to; the primary that comes will tell what became of it.
   */
  async #heardOf (keys: string[], args: Array<string | number>): Promise<unknown> {
    if (performance.now() - this.#answeredAt > replicaCounts) return undefined
    const question = async (client: Redis) => await evaluate(client, readScript, keys, args) as string[]
    const reply = await this.#connector.askReplica?.(keys[0]!, question, this.#ending.signal).catch(() => undefined)
    return reply !== undefined && /^(?:changes|more)$/.test(reply[0]!) ? reply : undefined
  }

  /** All documents, as they stand while they are read. */
  async * #load (damaged: Array<{ kind: Kind, key: string }>): AsyncGenerator<StoredDocument[]> {
    // A connection that subscribes is cut off when 32 MB wait for it; so this takes one of its own.
    if (this.#closed) throw new errors.STORE_CLOSED()
    const loader = this.#connector.connect(this.#keys.documents, { retryStrategy: undefined })
    this.#loaders.add(loader)
    try {
      loader.on('error', (error: Error) => { this.#unreachable = error.message })
      await loader.connect()
      yield * loadAll(loader, this.#keys.documents, damaged)
    } catch (error) {
      throw this.#failure(error)
    } finally {
      void hangUp(loader).then(() => this.#loaders.delete(loader))
    }
  }

  /**
   * Runs a script once, unless the server refuses because another one has taken over: then again, there. `instead` is asked
   * when there is no answer, or none soon, and may know one.
   */
  async #ask (script: RedisScript, keys: string[], args: Array<string | number>, instead?: () => Promise<unknown>): Promise<unknown> {
    await this.#open()
    const deadline = performance.now() + outcomeWithin
    const run = async () => {
      const answer = await evaluate(this.#client, script, keys, args)
      this.#answeredAt = performance.now()
      return answer
    }
    return await (instead === undefined ? run() : either(run(), instead)).catch((error) => {
      if (!wasElsewhere(error)) throw this.#failure(error)
      return this.#askAgain(run, deadline, error)
    })
  }

  /** Runs a script that may safely run twice: without an answer it asks again, until there is one or STORE_UNKNOWN must be said. */
  async #askSurely (script: RedisScript, keys: string[], args: Array<string | number>): Promise<unknown> {
    await this.#open()
    const deadline = performance.now() + outcomeWithin
    const run = () => evaluate(this.#client, script, keys, args)
    return await run().catch((error) => {
      if (wasNotSent(error) || (isReply(error) && !wasElsewhere(error))) throw this.#failure(error)
      return this.#askAgain(run, deadline, error, errors.STORE_UNKNOWN)
    })
  }

  /** Goes on after a first error, over whatever connection comes up; past an attempt without answer only if given what to throw in the end. */
  async #askAgain (run: () => Promise<unknown>, deadline: number, error: unknown, Unknown?: new (reason: string) => FlagsError): Promise<unknown> {
    let refused = error
    let unanswered = isReply(error) ? undefined : error
    while (!this.#closed && performance.now() < deadline) {
      try {
        if (this.#client.status === 'ready') return await before(deadline, run())
      } catch (error) {
        if (isReply(error) ? !wasElsewhere(error) : Unknown === undefined && !wasNotSent(error)) throw this.#failure(error)
        if (isReply(error)) refused = error
        else if (!wasNotSent(error)) unanswered = error
      }
      await pause(20, undefined, { ref: false })
    }
    if (this.#closed || Unknown === undefined || unanswered === undefined) throw this.#failure(refused)
    throw new Unknown(reasonOf(unanswered, this.#connector.place, this.#unreachable))
  }

  async #open (): Promise<void> {
    if (!this.#closed) await this.#opening
    if (this.#closed) throw new errors.STORE_CLOSED()
    if (this.#unfit !== undefined) throw this.#unfit
  }

  #failure (error: unknown): FlagsError {
    return this.#closed ? new errors.STORE_CLOSED() : storeError(error, this.#connector.place, this.#unreachable)
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

/** What is asked for; without an answer, or without one for a while, what `instead` knows, if it does. */
async function either (asked: Promise<unknown>, instead: () => Promise<unknown>): Promise<unknown> {
  const answered = new AbortController()
  const late = pause(answersSoon, undefined, { ref: false, signal: answered.signal }).catch(() => {})
  try {
    const early = await Promise.race([asked.then((answer) => ({ answer })), late])
    if (early !== undefined) return early.answer
  } catch (error) {
    const known = isReply(error) ? undefined : await instead()
    if (known === undefined) throw error
    return known
  } finally {
    answered.abort()
  }
  const known = instead().then((known) => known ?? asked)
  return await Promise.race([known, asked.catch(() => known)])
}

async function before<T> (deadline: number, promise: Promise<T>): Promise<T> {
  const late = pause(deadline - performance.now(), undefined, { ref: false }).then(() => { throw new Error('no answer in time') })
  late.catch(() => {})
  return await Promise.race([promise, late])
}
