import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import flags from '../../src/index.js'
import type { RedisConnection } from '../../src/store/redis-connection.js'
import { RedisStore } from '../../src/store/redis.js'
import { asked, askWithoutPause } from '../helpers/answers.js'
import { within } from '../helpers/promised.js'
import { startNode, until } from '../helpers/redis-node.js'
import { startRedis } from '../helpers/redis.js'
import { road } from '../helpers/road.js'

/** An app over a Redis, with the flags that are asked without pause, and admin routes without a token to send. */
async function startApp (t: Test, redis: RedisConnection, { namespace = 'flags' } = {}) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(flags, { redis, namespace, admin: { prefix: '/admin', authorize: () => 'alice' } })
  await app.ready()
  await until(() => app.flags.status === 'READY')
  return app
}

async function writeAsked ({ flags: { admin } }: Awaited<ReturnType<typeof startApp>>) {
  for (const [key, flag] of Object.entries(asked)) await admin.put(key, flag)
}

function openStore (t: Test, redis: RedisConnection, namespace = 'flags') {
  const store = new RedisStore({ redis, namespace })
  t.teardown(() => store.close())
  return store
}

t.test('row 1: Redis killed under load: no answer fails or is wrong, STALE within staleAfter, fresh 2 s after it is back', async (t) => {
  const redis = await startNode(t)
  if (redis === undefined) return
  const app = await startApp(t, redis.url)
  await writeAsked(app)
  const load = askWithoutPause(t, app.flags)
  // Nothing depends on how long it is away, once attempts to connect come each second: 7 s stand for 30.
  await within(t, { STALE: 5000, 'fresh once it is back': 2000 }, async () => {
    await until(() => Date.now() - app.flags.lastSyncedAt! > 500) // staleAfter counts from the last contact
    const killed = performance.now()
    redis.signal('SIGKILL')
    await until(() => app.flags.status === 'STALE')
    const stale = performance.now()
    await pause(2000)
    await redis.restart()
    const back = performance.now()
    await until(() => app.flags.status === 'READY')
    return { STALE: stale - killed, 'fresh once it is back': performance.now() - back }
  })
  t.equal(app.flags.problem, null)
  await load.end()
})

t.test('row 2: Redis frozen, a connection half-open, packets dropped: noticed within 3.5 s, fresh 3 s after it heals, also if nothing was ever written', async (t) => {
  const [healthy, frozen] = [await startNode(t), await startNode(t)]
  if (healthy === undefined || frozen === undefined) return
  const faults = {
    frozen: { url: frozen.url, begin: () => { frozen.signal('SIGSTOP') }, heal: () => { frozen.signal('SIGCONT') } },
    'half-open': await road(t, healthy.url).then(({ url, silence }) => ({ url, begin: silence, heal: () => {} })),
    dropped: await road(t, healthy.url).then(({ url, state }) => ({
      url,
      begin: () => { state.dropAll = true },
      heal: () => { state.dropAll = false }
    }))
  }
  for (const { client } of [healthy, frozen]) client.disconnect() // it would be told of the silence, too
  await Promise.all(Object.entries(faults).map(async ([name, { url, begin, heal }]) => {
    const [app, empty] = [await startApp(t, url, { namespace: name }), await startApp(t, url, { namespace: `${name}-empty` })]
    await writeAsked(app)
    const load = askWithoutPause(t, app.flags)
    const [noticing, freshening] = [`${name}: noticed`, `${name}: fresh once it heals`]
    await within(t, { [noticing]: 3500, [freshening]: 3000 }, async () => {
      const begun = performance.now()
      const noticed = Promise.all([app, empty].map((app) => new Promise<void>((resolve) => { app.flags.once('problem', () => resolve()) })))
      begin()
      await noticed
      const healed = { wall: Date.now(), monotonic: performance.now() }
      heal()
      await until(() => [app, empty].every(({ flags }) => flags.problem === null && flags.status === 'READY' && flags.lastSyncedAt! >= healed.wall))
      return { [noticing]: healed.monotonic - begun, [freshening]: performance.now() - healed.monotonic }
    })
    await load.end()
  }))
})

t.test('row 3: the subscriber killed 20 times in the middle of writes, and one that may not subscribe: every change is visible within 1.5 polls', async (t) => {
  const { url, namespace, client } = await startRedis(t)
  const writer = await startApp(t, url, { namespace })
  const subscriber = await startApp(t, { url, connectionName: namespace }, { namespace })
  await client.call('ACL', 'SETUSER', namespace, 'on', '>secret', '~*', '&*', '+@all', '-subscribe')
  t.teardown(() => client.call('ACL', 'DELUSER', namespace))
  const poller = await startApp(t, { url, username: namespace, password: 'secret' }, { namespace })
  await writeAsked(writer)
  await until(() => [subscriber, poller].every(({ flags }) => flags.revision === writer.flags.revision))
  const load = askWithoutPause(t, subscriber.flags)

  const killed = { times: 0 }
  const kill = async () => {
    const ids = (await client.client('LIST') as string).split('\n').filter((line) => line.includes(` name=${namespace} `)).map((line) => /^id=(\d+)/.exec(line)![1]!)
    for (const id of ids) killed.times += Number(await client.client('KILL', 'ID', id))
  }
  const followers = [subscriber, poller]
  await within(t, { 'the slowest change visible': 1500 }, async () => {
    const writtenAt = new Map<number, number>()
    let next = writer.flags.revision + 1
    let slowest = 0
    const writing = { over: false }
    const following = followers.map(async ({ flags }) => {
      for (let due = next; !writing.over || due < next; await pause(2)) {
        for (; due <= flags.revision && writtenAt.has(due); due++) slowest = Math.max(slowest, performance.now() - writtenAt.get(due)!)
      }
    })
    for (const before = killed.times; killed.times < before + 20; next++) {
      const write = writer.flags.admin.put('number', { enabled: true, description: String(next) })
      await kill()
      await write
      writtenAt.set(next, performance.now())
      await pause(20)
    }
    writing.over = true
    await Promise.all(following)
    return { 'the slowest change visible': slowest }
  })
  t.ok(killed.times >= 20, `killed ${killed.times} times`)
  await load.end()
})

t.test('row 8: the reply of a write lost: applied at most once, and the caller hears what is known within 2 s', async (t) => {
  const { url, namespace } = await startRedis(t)
  const way = await road(t, url)
  const app = await startApp(t, way.url, { namespace })
  const direct = openStore(t, url, namespace)
  await writeAsked(app)
  const load = askWithoutPause(t, app.flags)
  const entries = async (key: string) => (await direct.history({ kind: 'flag', key, limit: 10 })).changes.length
  const fates: Record<string, { begin: () => void, heal: () => void, status: number, code?: string, applied: number }> = {
    'its connection breaks': {
      begin: () => {
        way.state.muteAnswers = true
        setTimeout(() => {
          way.cut()
          way.state.muteAnswers = false
        }, 100)
      },
      heal: () => {},
      status: 201,
      applied: 1
    },
    'no reply ever comes': {
      begin: () => { way.state.muteAnswers = true },
      heal: () => { way.state.muteAnswers = false },
      status: 503,
      code: 'FST_FLAGS_STORE_UNKNOWN',
      applied: 1
    },
    'the request was lost already': {
      begin: () => { way.state.dropAll = true },
      heal: () => { way.state.dropAll = false },
      status: 503,
      code: 'FST_FLAGS_STORE_UNKNOWN',
      applied: 0
    }
  }
  for (const [name, { begin, heal, status, code, applied }] of Object.entries(fates)) {
    let key = ''
    const answering = `${name}: answered`
    await within(t, { [answering]: 2000 }, async () => {
      key = `lost-${randomUUID()}`
      way.expect(key, begin)
      const asked = performance.now()
      const answer = await app.inject({ method: 'PUT', url: `/admin/flags/${key}`, payload: { enabled: true } })
      const took = performance.now() - asked
      t.match({ status: answer.statusCode, code: answer.json().code }, { status, code }, name)
      heal()
      await until(async () => await app.flags.admin.put('steady', { enabled: true }).then(() => app.flags.problem === null, () => false))
      return { [answering]: took }
    })
    t.equal(await entries(key), applied, `${name}: applied ${applied} times`)
  }
  await load.end()
})
