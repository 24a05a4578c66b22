import { fork, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { RedisStore } from '../../src/store/redis.js'
import { startServer } from '../helpers/redis-server.js'
import { row, type Row } from './measure.js'

const flags = 10_000
const processes = 3
const changes = 500

interface Report { revision: number, at: number }

/** How long a change takes from the call that writes it to the last of several processes that serves it. */
export async function replica (): Promise<Row[]> {
  const { url, stop } = process.env.REDIS_URL === undefined ? await startServer() : { url: process.env.REDIS_URL, stop: async () => {} }
  const namespace = `bench-${randomUUID()}`
  const store = new RedisStore({ redis: url, namespace })
  const children: ChildProcess[] = []
  try {
    let epoch: string | null = null
    const write = async (i: number, expected: number) =>
      (await store.write({ kind: 'flag', key: `flag-${i}`, document: `{"enabled":true,"serve":{"percentage":${i % 100}}}`, expected, epoch, by: 'bench', id: randomUUID() })).version
    const versions = [await write(0, 0)]
    epoch = (await store.read()).position.epoch
    for (let i = 1; i < flags; i += 100) {
      versions.push(...await Promise.all(Array.from({ length: Math.min(100, flags - i) }, (_, n) => write(i + n, 0))))
    }

    const reports: Report[][] = Array.from({ length: processes }, () => [])
    await Promise.all(reports.map((list) => new Promise<void>((resolve, reject) => {
      const child = fork(fileURLToPath(new URL('replica-process.js', import.meta.url)), [url, namespace])
      children.push(child)
      child.once('error', reject)
      child.on('message', (message: 'ready' | Report) => {
        if (message === 'ready') resolve()
        else list.push(message)
      })
    })))

    const begun = new Map<number, number>()
    for (let i = 0; i < changes; i++) {
      const at = performance.timeOrigin + performance.now()
      begun.set(await write(i, versions[i]!), at)
      await sleep(5)
    }
    const last = Math.max(...begun.keys())
    for (let waited = 0; waited < 500 && !reports.every((list) => list.at(-1)?.revision === last); waited++) await sleep(20)
    // A process that reads two changes at once reports the later revision only.
    const served = (revision: number) => Math.max(...reports.map((list) => list.find((report) => report.revision >= revision)?.at ?? Infinity))
    const delays = [...begun].map(([revision, at]) => served(revision) - at).sort((a, b) => a - b)
    return [row(`one of ${flags.toLocaleString('en')} flags changes: served by all of ${processes} processes, p99, against 50 ms`, delays[Math.floor(changes * 0.99)]!, 50, 1, 'ms')]
  } finally {
    for (const child of children) child.disconnect()
    await store.close()
    const client = new Redis(url)
    await client.unlink(`{${namespace}}:documents`, `{${namespace}}:log`)
    client.disconnect()
    await stop()
  }
}
