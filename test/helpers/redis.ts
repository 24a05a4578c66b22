import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { startServer, type Server } from './redis-server.js'

export interface TestRedis {
  url: string
  /** A namespace no other test has; what is in it goes with the test. */
  namespace: string
  /** An ordinary connection, to look and to meddle. */
  client: Redis
}

let shared: Promise<Server> | undefined

/** A real Redis for one test: `REDIS_URL`, else one server for the test process, from the PATH or as WebAssembly. */
export async function startRedis (test: Test): Promise<TestRedis> {
  shared ??= process.env.REDIS_URL === undefined ? forProcess() : Promise.resolve({ url: process.env.REDIS_URL, stop: async () => {} })
  const { url } = await shared
  const namespace = `test-${randomUUID()}`
  const client = new Redis(url)
  test.teardown(async () => {
    if (process.env.REDIS_URL !== undefined) await emptyNamespace(client, namespace)
    client.disconnect()
  })
  return { url, namespace, client }
}

/** A server of the test's own, to stop, to flush, to configure; it goes with the test. */
export async function startOwnRedis (test: Test, args: string[] = []): Promise<Server> {
  const server = await startServer(args)
  test.teardown(() => server.stop())
  return server
}

/** What FLUSHALL is to a namespace. */
export async function emptyNamespace (client: Redis, namespace: string): Promise<void> {
  for (const match of [`{${namespace}}*`, `{${namespace}:x:*`]) {
    for await (const keys of client.scanStream({ match, count: 1000 })) {
      for (const key of keys) await client.unlink(key)
    }
  }
}

async function forProcess (): Promise<Server> {
  const server = await startServer([])
  t.teardown(() => server.stop())
  return server
}

/** Makes a namespace lead to where it is by no log, so that everybody who follows it must load it anew. Resolves to its revision. */
export async function breakLog (client: Redis, namespace: string): Promise<number> {
  return await client.eval(`
    redis.call('DEL', KEYS[2])
    redis.call('HSET', KEYS[1], '@token', ARGV[1])
    redis.call('PUBLISH', ARGV[2], '')
    return redis.call('HINCRBY', KEYS[1], '@revision', 1)
  `, 2, `{${namespace}}:documents`, `{${namespace}}:log`, randomUUID(), `{${namespace}}:changes`) as number
}
