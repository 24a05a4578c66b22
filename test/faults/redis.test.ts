import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import flags from '../../src/index.js'
import type { RedisConnection } from '../../src/store/redis-connection.js'
import { RedisStore } from '../../src/store/redis.js'
import { asked, askWithoutPause } from '../helpers/answers.js'
import { within } from '../helpers/promised.js'
import { startNode } from '../helpers/redis-node.js'
import { until } from '../helpers/until.js'
import { breakLog, startRedis } from '../helpers/redis.js'
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

// Row 1 takes its half a minute beside the others, which run one after the other.
t.jobs = 2

t.test('row 1: Redis killed for 30 s under load: no answer fails or is wrong, STALE within staleAfter, fresh 2 s after it is back', { buffered: true }, async (t) => {
  const redis = await startNode(t)
  if (redis === undefined) return
  const app = await startApp(t, redis.url)
  await writeAsked(app)
  const load = askWithoutPause(t, app.flags)
  await within(t, { STALE: 5000, 'fresh once it is back': 2000 }, async () => {
    await until(() => Date.now() - app.flags.lastSyncedAt! > 500) // staleAfter counts from the last contact
    const killed = performance.now()
    redis.signal('SIGKILL')
    await until(() => app.flags.status === 'STALE')
    const stale = performance.now()
    await pause(30_000 - (stale - killed))
    await redis.restart()
    const back = performance.now()
    await until(() => app.flags.status === 'READY')
    return { STALE: stale - killed, 'fresh once it is back': performance.now() - back }
  })
  t.equal(app.flags.problem, null)
  await load.end()
})

t.test('row 2: Redis frozen, a connection half-open, packets dropped: noticed within 3.5 s, fresh 3 s after it heals, also if nothing was ever written', { buffered: true }, async (t) => {
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

t.test('row 3: the subscriber killed 20 times in the middle of writes, and one that may not subscribe: every change is visible within 1.5 polls', { buffered: true }, async (t) => {
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

t.test('row 6: what Redis holds is damaged, or Redis refuses: the others go on, the last good value stays, and a write is told why', { buffered: true }, async (t) => {
  const redis = await startNode(t)
  if (redis === undefined) return
  const { client, url } = redis
  const app = await startApp(t, url)
  await writeAsked(app)
  const load = askWithoutPause(t, app.flags)
  const problem = () => app.flags.problem?.message ?? ''
  let writes = 0
  const write = async (of = app) => {
    const answer = await of.inject({ method: 'PUT', url: '/admin/flags/written', headers: { 'if-match': '*' }, payload: { enabled: true, description: String(writes++) } })
    return { status: answer.statusCode, ...answer.json() }
  }
  await app.flags.admin.put('written', {})

  await t.test('a corrupt document', async (t) => {
    await app.flags.admin.put('bad', { enabled: true })
    await client.hset('{flags}:documents', 'flag:bad', 'x')
    await breakLog(client, 'flags')
    await until(() => problem().includes('flag bad'))
    t.match(await write(), { status: 200 }, 'others are written')
    t.match(app.flags.problem, { code: 'FST_FLAGS_DAMAGED_DOCUMENT', message: /its last good value, version \d+, is served/ })
    t.equal(app.flags.for().isEnabled('bad'), true)
    t.equal(app.flags.status, 'READY')
    const fresh = await startApp(t, url)
    t.match((await fresh.inject('/admin/flags/bad')).json(), { statusCode: 503, code: 'FST_FLAGS_DAMAGED_DOCUMENT' })
    t.equal(fresh.flags.for('user-1').isEnabled('asked-share'), true)
    await app.flags.admin.put('bad', { enabled: false })
    t.equal(app.flags.problem, null, 'written again, it is mended')
    t.equal(app.flags.for().isEnabled('bad'), false)
  })

  await t.test('a key of another type', async (t) => {
    for (const key of ['documents', 'log']) {
      await client.multi().rename(`{flags}:${key}`, 'aside').set(`{flags}:${key}`, 'mine').exec()
      const refused = await write()
      t.match(refused, { status: 503, code: 'FST_FLAGS_STORE_DAMAGED', message: /holds something else.*WRONGTYPE/ }, key)
      await client.rename('aside', `{flags}:${key}`)
      await until(async () => (await write()).status === 200)
    }
  })

  await t.test('out of memory', async (t) => {
    await client.config('SET', 'maxmemory', '1')
    t.match(await write(), { status: 503, code: 'FST_FLAGS_STORE_UNAVAILABLE', message: /nothing can be written.*out of memory/ })
    t.equal(app.flags.status, 'READY', 'it can still be read')
    await client.config('SET', 'maxmemory', '0')
    t.match(await write(), { status: 200 })
  })

  await t.test('a server that became a replica', async (t) => {
    await client.replicaof('127.0.0.1', 1)
    t.match(await write(), { status: 503, code: 'FST_FLAGS_STORE_UNAVAILABLE', message: /read-only replica/ })
    await client.replicaof('NO', 'ONE')
    await until(async () => (await write()).status === 200)
  })

  await t.test('a user without rights', async (t) => {
    await client.call('ACL', 'SETUSER', 'reader', 'on', '>s3cret', '~*', '&*', '+@all', '-xadd')
    const reader = await startApp(t, url.replace('//', '//reader:s3cret@'))
    const refused = await write(reader)
    t.match(refused, { status: 503, code: 'FST_FLAGS_STORE_UNAVAILABLE', message: /lacks a permission/ })
    t.notMatch(JSON.stringify(refused), /s3cret/)
    t.equal(reader.flags.status, 'READY')
    await client.call('ACL', 'SETUSER', 'reader', '-@all')
    await until(() => reader.flags.problem !== null)
    t.match(reader.flags.problem, { code: 'FST_FLAGS_STORE_UNAVAILABLE', message: /lacks a permission/ })
    t.equal(reader.flags.for('user-1').isEnabled('asked-share'), true)
    await client.call('ACL', 'SETUSER', 'reader', '+@all')
    await until(() => reader.flags.problem === null)
  })

  await t.test('eviction', async (t) => {
    await client.config('SET', 'maxmemory-policy', 'allkeys-lru')
    const warnings: string[] = []
    const store = new RedisStore({ redis: url, warn: (message) => warnings.push(message) })
    t.teardown(() => store.close())
    await until(() => warnings.length > 0)
    t.match(warnings, [/maxmemory-policy allkeys-lru.*noeviction/])
    await client.config('SET', 'maxmemory', '1')
    await client.set('mine', '1').catch(() => {})
    await until(async () => await client.exists('{flags}:documents') === 0)
    await until(() => app.flags.problem !== null)
    await client.config('SET', 'maxmemory', '0')
    await until(() => app.flags.problem === null)
    t.equal(app.flags.for('user-1').isEnabled('asked-share'), true, 'what was evicted is put back')
  })
  await load.end()
})

t.test('row 8: the reply of a write lost: applied at most once, and the caller hears what is known within 2 s', { buffered: true }, async (t) => {
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
    let answered: { status: number, code?: string } | undefined
    const answering = `${name}: answered`
    await within(t, { [answering]: 2000 }, async () => {
      key = `lost-${randomUUID()}`
      way.expect(key, begin)
      const asked = performance.now()
      const answer = await app.inject({ method: 'PUT', url: `/admin/flags/${key}`, payload: { enabled: true } })
      const took = performance.now() - asked
      answered = { status: answer.statusCode, code: answer.json().code }
      heal()
      await until(async () => await app.flags.admin.put('steady', { enabled: true }).then(() => app.flags.problem === null, () => false))
      return { [answering]: answered.status === status ? took : Infinity } // 503 is what a busy machine is told, too
    })
    t.match(answered, { status, code }, name)
    t.equal(await entries(key), applied, `${name}: applied ${applied} times`)
  }
  await load.end()
})
