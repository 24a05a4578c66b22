import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Ledger } from '../../src/experiments/ledger.js'
import { MemoryLedger } from '../../src/experiments/memory.js'
import { Recorder } from '../../src/experiments/recorder.js'
import { RedisLedger } from '../../src/experiments/redis.js'
import { Flags } from '../../src/flags.js'
import { experimentOf, type Experiment } from '../../src/model/experiment.js'
import type { Flag } from '../../src/model/flag.js'
import { Replica } from '../../src/replica.js'
import { MemoryStore } from '../../src/store/memory.js'
import { startServer } from '../helpers/redis-server.js'
import { compare, row, type Row } from './measure.js'

const document: Flag = { enabled: true, variants: ['a', 'b', 'c'], serve: { split: { a: 1, b: 1, c: 1 } } }
const perSecond = 100_000
const seconds = 5

/** What it costs that reads are counted, and what a unit costs where it is kept. Always a Redis of its own: its whole memory and CPU are counted. */
export async function experiments (): Promise<Row[]> {
  const server = await startServer()
  const client = new Redis(server.url)
  try {
    return [await reads(), await absorbed(server.url, client), await memory(server.url, client)]
  } finally {
    client.disconnect()
    await server.stop()
  }
}

/** A unit that comes again, which is nearly every read. */
async function reads (): Promise<Row> {
  const replica = new Replica({ store: new MemoryStore(), bootstrap: { flags: { plain: document, counted: { ...document, experiment: {} } } } })
  const nowhere: Ledger = Object.assign(new MemoryLedger(), { record: async () => {} })
  const recorder = new Recorder({ ledger: nowhere, environment: 'production', now: Date.now, report: (problem) => { throw problem } })
  const people = Array.from({ length: 1000 }, () => new Flags(replica, 'production', randomUUID(), recorder))
  const calls = 20_000
  const reading = (key: string) => () => { let length = 0; for (let i = 0; i < calls; i++) length += people[i % 1000]!.getVariant(key, '').length; return length }
  const { ours, limit } = compare('', 1, calls, reading('counted'), reading('plain'))
  await recorder.close()
  await replica.close()
  return row('a read that an experiment counts: what it costs more, against 150 ns', ours - limit, 150, 1)
}

/** Units that were never seen before, half of them converting, as fast as they are to be absorbed; of this process and of Redis. */
async function absorbed (url: string, client: Redis): Promise<Row> {
  const ledger = new RedisLedger({ redis: url, namespace: 'bench' })
  const recorder = new Recorder({ ledger, environment: 'production', now: Date.now, report: (problem) => { throw problem } })
  const experiment = some()
  const flags = new Replica({ store: new MemoryStore(), bootstrap: { flags: { bench: { ...document, experiment: {} } } } })
  const { snapshot } = flags
  const before = await cpu(client)
  let unit = 0
  for (let tick = 0; tick < seconds * 20; tick++) {
    const next = performance.now() + 50
    for (let i = 0; i < perSecond / 40; i++) {
      const targetingKey = `user-${unit++}`
      recorder.exposed(experiment, { unit: targetingKey, variant: 'a', time: Date.now() })
      recorder.track({ snapshot, environment: 'production', context: { targetingKey }, now: Date.now() }, 'purchase', 5)
    }
    await pause(Math.max(0, next - performance.now()))
  }
  while (recorder.waiting > 0) await recorder.flush(true)
  const used = await cpu(client) - before
  const { dropped } = recorder
  await recorder.close()
  await ledger.close()
  await flags.close()
  if (dropped > 0) throw new Error(`${dropped} events were lost`)
  return row('an event, of 100,000 a second: CPU here and in Redis, against two cores', used / (2 * unit) * 1e6, 2e6 / perSecond, 1, 'µs')
}

async function memory (url: string, client: Redis): Promise<Row> {
  const ledger = new RedisLedger({ redis: url, namespace: 'bench-memory' })
  const experiment = some()
  const before = await used(client)
  const units = 1_000_000
  for (let first = 0; first < units; first += 1000) {
    const exposures = Array.from({ length: 1000 }, (_, i) => ({ unit: `user-${first + i}`, variant: 'abc'[i % 3]!, time: Date.now() }))
    await ledger.record({ id: randomUUID(), experiment, time: Date.now(), exposures, conversions: [], reads: { a: 1000 } })
  }
  const bytes = (await used(client) - before) / units
  await ledger.close()
  return row('a unit of 1,000,000 in Redis, against 20 bytes', bytes, 20, 1, 'B')
}

function some (): Experiment {
  return experimentOf('bench', { ...document, experiment: {} }, 'production')!
}

async function used (client: Redis): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await client.info('memory'))![1])
}

/** Seconds. */
async function cpu (client: Redis): Promise<number> {
  const { user, system } = process.cpuUsage()
  const info = await client.info('cpu')
  return (user + system) / 1e6 + Number(/used_cpu_user:([\d.]+)/.exec(info)![1]) + Number(/used_cpu_sys:([\d.]+)/.exec(info)![1])
}
