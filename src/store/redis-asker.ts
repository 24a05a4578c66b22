import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { errors, type FlagsError } from '../errors.js'
import { hangUp, type Connector } from './redis-connection.js'
import { isReply, reasonOf, storeError, wasElsewhere, wasNotSent } from './redis-errors.js'
import { evaluate, type RedisScript } from './redis-scripts.js'

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

/**
 * A connection to the server that holds a key, and how that is asked: not longer than a caller would wait, again where another
 * one has taken over, and a replica in the primary's place. Rejects with STORE_CLOSED once it is closed, and with typed errors.
 */
export class RedisAsker {
  readonly client: Redis
  /** Why this server is not asked at all. */
  unfit: FlagsError | undefined
  readonly #connector: Connector
  readonly #opening: Promise<void>
  readonly #ending = new AbortController()
  #unreachable: string | undefined
  #answeredAt = -Infinity
  #closing: Promise<void> | undefined

  constructor (connector: Connector, key: string) {
    this.#connector = connector
    this.client = connector.connect(key)
    this.client.on('error', (error: Error) => { this.noteLost(error) })
    this.client.on('ready', () => { this.#unreachable = undefined })
    // Whoever asks at once waits for the first attempt to connect; later a lost connection is an error at once.
    this.#opening = new Promise((resolve) => {
      for (const event of ['ready', 'error', 'close', 'end']) this.client.once(event, resolve)
      setTimeout(resolve, openingWithin).unref()
    })
    this.client.connect().catch(() => {})
  }

  /** Aborted when it is closed. */
  get signal (): AbortSignal {
    return this.#ending.signal
  }

  /** A connection to the same place was lost, or did not come up: the reason is told with what fails. */
  noteLost ({ message }: Error): void {
    this.#unreachable = message
  }

  /**
   * Runs a script once, unless the server refuses because another one has taken over: then again, there. When there is no answer,
   * or none soon, and there are replicas, one is asked too; its answer counts if `fromReplica` says so.
   */
  async ask (script: RedisScript, keys: string[], args: Array<string | number>, fromReplica?: (answer: unknown) => boolean): Promise<unknown> {
    await this.#open()
    const deadline = performance.now() + outcomeWithin
    const run = async () => {
      const answer = await evaluate(this.client, script, keys, args)
      this.#answeredAt = performance.now()
      return answer
    }
    const answered = fromReplica === undefined || this.#connector.askReplica === undefined ? run() : either(run(), () => this.#askReplica(script, keys, args, fromReplica))
    return await answered.catch((error) => {
      if (!wasElsewhere(error)) throw this.failure(error)
      return this.#askAgain(run, deadline, error)
    })
  }

  /** Runs a script that may safely run twice: without an answer it asks again, until there is one or STORE_UNKNOWN must be said. */
  async askSurely (script: RedisScript, keys: string[], args: Array<string | number>): Promise<unknown> {
    await this.#open()
    const deadline = performance.now() + outcomeWithin
    const run = () => evaluate(this.client, script, keys, args)
    return await run().catch((error) => {
      if (wasNotSent(error) || (isReply(error) && !wasElsewhere(error))) throw this.failure(error)
      return this.#askAgain(run, deadline, error, errors.STORE_UNKNOWN)
    })
  }

  /** The typed error for what was thrown. */
  failure (error: unknown): FlagsError {
    return this.signal.aborted ? new errors.STORE_CLOSED() : storeError(error, this.#connector.place, this.#unreachable)
  }

  /** Resolves once the connection is ended. */
  async close (): Promise<void> {
    this.#ending.abort()
    await (this.#closing ??= hangUp(this.client))
  }

  /** What a replica says while the primary says nothing; undefined where that does not count, or none answers. */
  async #askReplica (script: RedisScript, keys: string[], args: Array<string | number>, counts: (answer: unknown) => boolean): Promise<unknown> {
    if (performance.now() - this.#answeredAt > replicaCounts) return undefined
    const question = async (client: Redis) => await evaluate(client, script, keys, args)
    const answer = await this.#connector.askReplica?.(keys[0]!, question, this.signal).catch(() => undefined)
    return answer !== undefined && counts(answer) ? answer : undefined
  }

  /** Goes on after a first error, over whatever connection comes up; past an attempt without answer only if given what to throw in the end. */
  async #askAgain (run: () => Promise<unknown>, deadline: number, error: unknown, Unknown?: new (reason: string) => FlagsError): Promise<unknown> {
    let refused = error
    let unanswered = isReply(error) ? undefined : error
    while (!this.signal.aborted && performance.now() < deadline) {
      try {
        if (this.client.status === 'ready') return await before(deadline, run())
      } catch (error) {
        if (isReply(error) ? !wasElsewhere(error) : Unknown === undefined && !wasNotSent(error)) throw this.failure(error)
        if (isReply(error)) refused = error
        else if (!wasNotSent(error)) unanswered = error
      }
      await pause(20, undefined, { ref: false })
    }
    if (this.signal.aborted || Unknown === undefined || unanswered === undefined) throw this.failure(refused)
    throw new Unknown(reasonOf(unanswered, this.#connector.place, this.#unreachable))
  }

  async #open (): Promise<void> {
    if (!this.signal.aborted) await this.#opening
    if (this.signal.aborted) throw new errors.STORE_CLOSED()
    if (this.unfit !== undefined) throw this.unfit
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
