import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { RedisStore } from '../../src/store/redis.js'
import { startFlagsProcess } from '../helpers/child.js'
import { within } from '../helpers/promised.js'
import { until } from '../helpers/until.js'
import { breakLog, startRedis } from '../helpers/redis.js'

t.test('row 13: 200 replicas that must reload at once do not do it at once, and Redis answers PING within 300 ms', async (t) => {
  const { url, namespace, client } = await startRedis(t)
  const store = new RedisStore({ redis: url, namespace })
  t.teardown(() => store.close())
  let epoch: string | null = null
  const write = async (key: string) => {
    const { version } = await store.write({ kind: 'flag', key, document: JSON.stringify({ enabled: true, description: 'x'.repeat(400) }), expected: 0, epoch, by: null, id: randomUUID() })
    epoch ??= (await store.read()).position.epoch
    return version
  }
  for (let i = 0; i < 500; i++) await write(`flag-${i}`)
  const processes = await Promise.all([0, 1, 2, 3].map(() => startFlagsProcess(t, { url, namespace, count: 50 })))
  const connected = async () => Number(/^total_connections_received:(\d+)/m.exec(await client.info('stats'))![1])
  let spread = 0
  await within(t, { PING: 300 }, async () => {
    let slowest = 0
    const begun: number[] = []
    let before = await connected()
    const revision = await breakLog(client, namespace)
    const reloading = { over: false }
    const pinging = (async () => {
      for (; !reloading.over; await pause(2)) {
        const asked = performance.now()
        await client.ping()
        slowest = Math.max(slowest, performance.now() - asked)
        // Each load has a connection of its own.
        const now = await connected()
        if (now > before) begun.push(performance.now())
        before = now
      }
    })()
    await until(async () => (await Promise.all(processes.map((process) => process.ask('revisions')))).flat().every((served) => served === revision))
    reloading.over = true
    await pinging
    spread = begun.at(-1)! - begun[0]!
    return { PING: slowest }
  })
  t.ok(spread > 250, `their loads began within ${Math.round(spread)} ms, not all at once`)
})
