import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { Redis } from 'ioredis'
import { Replica } from '../../src/replica.js'
import { RedisStore } from '../../src/store/redis.js'
import { startServer } from '../helpers/redis-server.js'
import { median, row, type Row } from './measure.js'

/** Redis and a replica together: what loading costs, and what one change costs, whatever the number of flags. */
export async function store (): Promise<Row[]> {
  const { url, stop } = process.env.REDIS_URL === undefined ? await startServer() : { url: process.env.REDIS_URL, stop: async () => {} }
  const admin = new Redis(url)
  const namespaces: string[] = []
  try {
    const place = async (count: number) => {
      const namespace = `bench-${randomUUID()}`
      namespaces.push(namespace)
      await fill(admin, namespace, count)
      return { redis: url, namespace }
    }
    const few = await place(100)
    const many = await place(10_000)
    const most = await place(100_000)
    const { ours, limit } = await loads(many)
    const blocked = await longestBlock(most)
    const [small, medium, large] = [await follow(few), await follow(many), await follow(most)]
    return [
      row('10,000 flags loaded, against HVALS and JSON.parse', ours, limit, 1.5, 'ms'),
      row('100,000 flags loaded: event loop blocked, against 50 ms', blocked, 50, 1, 'ms'),
      row('one of 10,000 flags changes: applied, p99, against 50 ms', medium.p99, 50, 1, 'ms'),
      row('one of 10,000 flags changes: CPU of this process, against one of 100', medium.cpu, small.cpu, 2, 'ms'),
      row('one of 100,000 flags changes: CPU of this process, against one of 100', large.cpu, small.cpu, 2, 'ms'),
      row('one of 100,000 flags changes: event loop blocked, against 50 ms', large.blocked, 50, 1, 'ms')
    ]
  } finally {
    for (const namespace of namespaces) await admin.unlink(`{${namespace}}:documents`, `{${namespace}}:log`)
    admin.disconnect()
    await stop()
  }
}

interface Place { redis: string, namespace: string }

/** About 610 bytes each. */
function flag (i: number): string {
  const users = Array.from({ length: 28 }, (_, n) => `user-${i}-${n}`)
  return JSON.stringify({ description: `flag number ${i} of the bench`, enabled: true, targets: [{ users }], serve: { percentage: i % 101 } })
}

async function fill (admin: Redis, namespace: string, count: number): Promise<void> {
  for (let start = 0; start < count; start += 1000) {
    const fields = Array.from({ length: Math.min(1000, count - start) }, (_, i) => [`flag:flag-${start + i}`, `1 1 null\n${flag(start + i)}`]).flat()
    await admin.hset(`{${namespace}}:documents`, ...fields)
  }
  await admin.hset(`{${namespace}}:documents`, '@epoch', randomUUID(), '@revision', '1', '@token', randomUUID())
}

async function loaded (place: Place): Promise<Replica> {
  const replica = new Replica({ store: new RedisStore(place) })
  await replica.start(60_000)
  if (replica.status !== 'READY') throw replica.problem ?? new Error('not loaded')
  return replica
}

async function loads ({ redis, namespace }: Place) {
  const times = { ours: [] as number[], limit: [] as number[] }
  for (let round = 0; round < 15; round++) {
    const start = performance.now()
    const replica = await loaded({ redis, namespace })
    const middle = performance.now()
    const client = new Redis(redis)
    const parsed = (await client.hvals(`{${namespace}}:documents`)).map((value) => value.startsWith('1 ') ? JSON.parse(value.slice(value.indexOf('\n') + 1)) : value)
    const end = performance.now()
    if (parsed.length !== 10_003) throw new Error('not all there')
    times.ours.push(middle - start)
    times.limit.push(end - middle)
    await replica.close()
    client.disconnect()
  }
  // The faster half: the slower one is other processes' time.
  const [ours, limit] = [times.ours, times.limit].map((all) => median(all.sort((a, b) => a - b).slice(0, 7))) as [number, number]
  return { ours, limit }
}

async function longestBlock (place: Place): Promise<number> {
  const blocks: number[] = []
  for (let round = 0; round < 3; round++) {
    const watched = watchLoop()
    const replica = await loaded(place)
    blocks.push(watched.end())
    await replica.close()
  }
  return median(blocks)
}

/**
 * The longest turn of the event loop until `end`, in milliseconds: by the clock, but no longer than the process computed in it. The clock counts what
 * other processes take from it, and the CPU time what V8's helpers do beside it.
 */
function watchLoop () {
  let last = process.cpuUsage()
  let begun = performance.now()
  let longest = 0
  const look = () => {
    const { user, system } = process.cpuUsage(last)
    longest = Math.max(longest, Math.min((user + system) / 1000, performance.now() - begun))
    last = process.cpuUsage()
    begun = performance.now()
    timer = setImmediate(look)
  }
  let timer = setImmediate(look)
  return {
    end () {
      clearImmediate(timer)
      look()
      clearImmediate(timer)
      return longest
    }
  }
}

/** What a replica spends until each of many changes by another connection is served. */
async function follow (place: Place) {
  const replica = await loaded(place)
  const writer = new RedisStore(place)
  const { position: { epoch, revision } } = await writer.read()
  const changes = 600
  const times: number[] = []
  const blocks: number[] = []
  const one = async (i: number) => {
    const changed = once(replica, 'change')
    await writer.write({ kind: 'flag', key: `new-${i}`, document: flag(i), expected: 0, epoch, by: null, id: randomUUID() })
    await changed
  }
  for (let i = 0; i < 100; i++) await one(i)
  const before = process.cpuUsage()
  for (let i = 100; i < changes; i++) {
    const start = performance.now()
    await one(i)
    times.push(performance.now() - start)
  }
  const { user, system } = process.cpuUsage(before)
  for (let i = changes; i < changes + 100; i++) {
    const watched = watchLoop()
    await one(i)
    blocks.push(watched.end())
  }
  if (replica.revision !== revision + changes + 100) throw new Error('not all applied')
  await replica.close()
  await writer.close()
  times.sort((a, b) => a - b)
  return { p99: times[Math.floor(times.length * 0.99)]!, cpu: (user + system) / 1000 / (changes - 100), blocked: Math.max(...blocks) }
}
