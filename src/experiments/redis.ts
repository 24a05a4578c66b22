import { randomBytes } from 'node:crypto'
import type { Redis } from 'ioredis'
import { errors } from '../errors.js'
import type { Experiment } from '../model/experiment.js'
import { connectorOf, hangUp, type Connector, type RedisConnection } from '../store/redis-connection.js'
import { storeError } from '../store/redis-errors.js'
import { evaluate, type RedisScript } from '../store/redis-scripts.js'
import type { Counts } from './counts.js'
import { dayLength, dayOf, hashOf, knownFor, mostGoals, unitsKeptFor, type Addition, type Batch, type Claim, type Ledger, type Range, type Sums } from './ledger.js'
import { addScript, claimScript, openScript, recordScript } from './redis-scripts.js'
import { Counting } from './tally.js'

export interface RedisLedgerOptions {
  redis: RedisConnection
  /** As of the store; default `flags`. */
  namespace?: string
}

/** What a process must know of an experiment to record it. */
interface Opened { salt: string, base: number, shares: string }

/** Seconds for which counts are kept after the last batch. */
const countsKeptFor = 400 * 86_400
/** To a Cluster, each for one experiment or rollout; those that are over leave theirs. */
const mostConnections = 250
/** Milliseconds that a call waits for a connection. */
const connectedWithin = 2000

/** Experiments in Redis, and what guards count: each on whichever node of a Cluster its keys lie. Nothing is connected before there is something to record. */
export class RedisLedger implements Ledger {
  readonly settlesAfter = 1000
  readonly #connector: Connector
  readonly #namespace: string
  readonly #clients = new Map<string, Redis>()
  readonly #opened = new Map<string, Opened>()
  #unreachable: string | undefined
  #closed = false

  constructor ({ redis, namespace = 'flags' }: RedisLedgerOptions) {
    this.#connector = connectorOf(redis)
    this.#namespace = namespace
  }

  async record (batch: Batch): Promise<void> {
    const { experiment } = batch
    let answer = await this.#record(batch, await this.#open(experiment))
    if (answer === 'unknown') { // what Redis held is gone, or was replaced
      this.#opened.delete(experiment.id)
      answer = await this.#record(batch, await this.#open(experiment))
    }
    if (answer === 'unknown') throw new errors.STORE_UNAVAILABLE(`the experiment of ${experiment.flag} is being removed from Redis at ${this.#connector.place}`)
  }

  async read (experiment: Experiment, range: Range = {}): Promise<Counts> {
    return countsOf(experiment, await this.#read(experiment.id, this.#keysOf(experiment.id).counts), range)
  }

  async add ({ id, of, numbers }: Addition): Promise<Sums> {
    const keys = this.#keysOf(of)
    const args = [unitsKeptFor / 1000, 2 * knownFor / 1000, ...Object.entries(numbers).flat()]
    const answer = await this.#ask(of, addScript, [keys.sums, keys.batch + id], args) as string[]
    return sumsOf(Array.from({ length: answer.length / 2 }, (_, i) => [answer[2 * i]!, answer[2 * i + 1]!]))
  }

  async sums (of: string): Promise<Sums> {
    return sumsOf(Object.entries(await this.#read(of, this.#keysOf(of).sums)))
  }

  async claim ({ id: by, of, ids, time }: Claim): Promise<Set<string>> {
    const keys = this.#keysOf(of)
    const hour = Math.floor(time / knownFor)
    const hashes = ids.map((id) => hashOf(of, id))
    const named = hashes.map(bucketOf).flatMap((bucket) => [`${keys.ids}${hour}:${bucket}`, `${keys.ids}${hour - 1}:${bucket}`])
    const args = [hashOf('', by), 2 * knownFor / 1000, ...hashes.map((hash) => hash.subarray(1))]
    const theirs = await this.#ask(of, claimScript, named, args) as number[]
    return new Set(ids.filter((_, i) => theirs[i] === 1))
  }

  async close (): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#clients.values()].map(hangUp))
  }

  /** `of` is an experiment's id, or what numbers are added up of. */
  #keysOf (of: string) {
    const base = `${this.#connector.prefix}{${this.#namespace}:x:${of}}`
    return { counts: base + ':counts', sums: base + ':sums', batch: base + ':batch:', units: base + ':', ids: base + ':ids:' }
  }

  async #open (experiment: Experiment): Promise<Opened> {
    const { id, shares, ...others } = experiment
    const text = JSON.stringify(shares)
    const known = this.#opened.get(id)
    if (known !== undefined && known.shares === text) return known
    const today = Math.floor(Date.now() / dayLength) * dayLength
    // Events may be reported late: times count from some days before.
    const args = [randomBytes(16).toString('hex'), today - 30 * dayLength, text, countsKeptFor, JSON.stringify(others)]
    const [salt, base] = await this.#ask(id, openScript, [this.#keysOf(id).counts], args) as [string, string]
    const opened = { salt, base: Number(base), shares: text }
    this.#opened.set(id, opened)
    return opened
  }

  async #record ({ id, experiment, time, exposures, conversions, reads }: Batch, { salt, base }: Opened): Promise<unknown> {
    const { variants } = experiment
    const keys = this.#keysOf(experiment.id)
    const named: string[] = [keys.counts, keys.batch + id]
    const places = new Map<string, number>()
    const placeOf = (key: string): number => {
      let place = places.get(key)
      if (place === undefined) places.set(key, place = named.push(key))
      return place
    }
    const tenths = (time: number) => Math.min(0xffff_ffff, Math.max(0, Math.floor((time - base) / 100)))
    const hour = Math.floor(time / knownFor)

    const exposed = Buffer.alloc(25 * exposures.length)
    let at = 0
    for (const { unit, variant, time, id } of exposures) {
      const hash = hashOf(salt, unit)
      exposed.writeUInt16BE(placeOf(keys.units + bucketOf(hash)), at)
      hash.copy(exposed, at + 2, 1)
      exposed.writeUInt8(variants.indexOf(variant), at + 9)
      exposed.writeUInt32BE(tenths(time), at + 10)
      if (id !== undefined) {
        const event = hashOf(salt, id)
        const bucket = bucketOf(event)
        exposed.writeUInt16BE(placeOf(`${keys.ids}${hour}:${bucket}`), at + 14)
        exposed.writeUInt16BE(placeOf(`${keys.ids}${hour - 1}:${bucket}`), at + 16)
        event.copy(exposed, at + 18, 1)
      }
      at += 25
    }

    const goals = [...new Set(conversions.map(({ goal }) => goal))]
    const indexes = new Map(goals.map((goal, index) => [goal, index]))
    const converted = Buffer.alloc(23 * conversions.length)
    at = 0
    for (const { unit, goal, value, time } of conversions) {
      const hash = hashOf(salt, unit)
      converted.writeUInt16BE(placeOf(keys.units + bucketOf(hash)), at)
      hash.copy(converted, at + 2, 1)
      converted.writeUInt16BE(indexes.get(goal)!, at + 9)
      converted.writeUInt32BE(tenths(time), at + 11)
      converted.writeDoubleBE(value, at + 15)
      at += 23
    }

    const read = Object.entries(reads).flatMap(([variant, count]) => [variants.indexOf(variant), count])
    const args = [salt, exposed, converted, Math.floor((time - base) / dayLength), time, unitsKeptFor / 1000, countsKeptFor, 2 * knownFor / 1000, mostGoals, read.length / 2, ...read, ...goals]
    return await this.#ask(experiment.id, recordScript, named, args)
  }

  async #read (of: string, key: string): Promise<Record<string, string>> {
    const client = await this.#clientOf(of)
    try {
      return await client.hgetall(key)
    } catch (error) {
      throw this.#failure(error)
    }
  }

  async #ask (of: string, script: RedisScript, keys: string[], args: Array<string | number | Buffer>): Promise<unknown> {
    const client = await this.#clientOf(of)
    try {
      return await evaluate(client, script, keys, args)
    } catch (error) {
      throw this.#failure(error)
    }
  }

  /** A connection to where the keys are; not the store's, which must not wait behind long scripts. */
  async #clientOf (of: string): Promise<Redis> {
    if (this.#closed) throw new errors.STORE_CLOSED()
    const name = this.#connector.spread ? of : ''
    let client = this.#clients.get(name)
    if (client === undefined) {
      client = this.#connector.connect(this.#keysOf(of).counts)
      client.on('error', (error: Error) => { this.#unreachable = error.message })
      client.connect().catch(() => {})
    }
    this.#clients.delete(name) // whoever was used last stands last
    this.#clients.set(name, client)
    if (this.#clients.size > mostConnections) this.#leave(this.#clients.keys().next().value!)
    if (client.status !== 'ready') await connected(client)
    return client
  }

  /** What was sent there and is not answered yet fails, and is sent again. */
  #leave (name: string): void {
    void hangUp(this.#clients.get(name)!)
    this.#clients.delete(name)
  }

  #failure (error: unknown) {
    return this.#closed ? new errors.STORE_CLOSED() : storeError(error, this.#connector.place, this.#unreachable)
  }
}

/** Until there is a connection, or it is clear that there is none now. */
async function connected (client: Redis): Promise<void> {
  await new Promise<void>((resolve) => {
    const events = ['ready', 'error', 'close', 'end']
    const done = () => {
      clearTimeout(timer)
      for (const event of events) client.off(event, done)
      resolve()
    }
    const timer = setTimeout(done, connectedWithin)
    for (const event of events) client.on(event, done)
  })
}

/** Which of the 8,192 hashes holds it. */
function bucketOf (hash: Buffer): number {
  return hash.readUInt16BE() >>> 3
}

function sumsOf (fields: Array<[name: string, number: string]>): Sums {
  return Object.fromEntries(fields.map(([name, number]) => [name, Number(number)]))
}

function countsOf (experiment: Experiment, fields: Record<string, string>, range: Range): Counts {
  const { variants } = experiment
  const counting = new Counting(variants)
  const base = Number(fields['@base'])
  const day = (index: string | undefined) => dayOf(base + Number(index) * dayLength)
  const goals: string[] = []
  for (const [field, value] of Object.entries(fields)) if (field.startsWith('g:')) goals[Number(value)] = field.slice(2)
  for (const [field, value] of Object.entries(fields)) {
    const [kind, variant, second, third] = field.split(':')
    const name = variants[Number(variant)]!
    const count = Number(value)
    switch (kind) {
      case 'u': counting.units(name, day(second), count, range); break
      case 'x': counting.exposures(name, day(second), count, range); break
      case 's': counting.switched(name, day(second), count, range); break
      case 'c': counting.conversions(name, goals[Number(second)]!, day(third), { conversions: count, sum: 0, squares: 0 }, range); break
      case 'v': counting.conversions(name, goals[Number(second)]!, day(third), { conversions: 0, sum: count, squares: 0 }, range); break
      case 'q': counting.conversions(name, goals[Number(second)]!, day(third), { conversions: 0, sum: 0, squares: count }, range); break
      case 'd': counting.conversionsOn(name, goals[Number(second)]!, day(third), count); break
    }
  }
  const ignored = { unexposed: Number(fields['!unexposed'] ?? 0), goals: Number(fields['!goals'] ?? 0) }
  return counting.done('@shares' in fields ? JSON.parse(fields['@shares']!) as Counts['shares'] : experiment.shares, '@since' in fields ? Number(fields['@since']) : null, ignored)
}
