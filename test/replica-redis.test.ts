import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { Flags } from '../src/flags.js'
import { Replica, type ReplicaOptions } from '../src/replica.js'
import { RedisStore } from '../src/store/redis.js'
import { Gate } from './helpers/gate.js'
import { emptyNamespace, startRedis } from './helpers/redis.js'

const on = '{"enabled":true}'
const off = '{"enabled":false}'

/** A real Redis, a gate before it, and a writer that goes around the gate. */
async function build (t: Test) {
  const redis = await startRedis(t)
  const gate = await Gate.before(t, redis.url)
  const writer = new RedisStore({ redis: redis.url, namespace: redis.namespace })
  t.teardown(() => writer.close())
  let epoch: string | null = null
  const versions = new Map<string, number>()
  return {
    ...redis,
    gate,
    async write (key: string, document: string) {
      const { version } = await writer.write({ kind: 'flag', key, document, expected: versions.get(key) ?? 0, epoch, by: 'alice', id: randomUUID() })
      versions.set(key, version)
      epoch ??= (await writer.read()).position.epoch
      return version
    },
    follow (url = gate.url, options: Partial<ReplicaOptions> = {}) {
      const replica = new Replica({ store: new RedisStore({ redis: url, namespace: redis.namespace }), ...options })
      t.teardown(() => replica.close())
      return replica
    }
  }
}

const isOn = (replica: Replica, key: string) => new Flags(replica, 'production', 'u1').isEnabled(key)

t.test('with Redis down at start bootstrap is served; it recovers by itself', async (t) => {
  const { gate, write, follow } = await build(t)
  await write('a', on)
  const replica = follow(gate.url, { bootstrap: { flags: { a: { enabled: false }, b: { enabled: true } } } })
  const bare = follow()
  await Promise.all([replica.start(50), bare.start(50)])
  t.same([replica.status, isOn(replica, 'a'), isOn(replica, 'b')], ['STALE', false, true])
  t.equal(bare.status, 'NOT_READY')
  const ready = Promise.all([once(replica, 'ready'), once(bare, 'ready')])
  await gate.open()
  await ready
  t.same([replica.status, isOn(replica, 'a'), isOn(replica, 'b')], ['READY', true, false])
  t.same([bare.status, isOn(bare, 'a'), bare.problem], ['READY', true, null])
})

t.test('with Redis gone what was last known is served, STALE; back again, what changed meanwhile', async (t) => {
  const { gate, write, follow } = await build(t)
  await gate.open()
  await write('a', on)
  const replica = follow(gate.url, { staleAfter: 600 })
  await replica.start(5000)
  t.same([replica.status, isOn(replica, 'a')], ['READY', true])
  const stale = once(replica, 'stale')
  await gate.shut()
  await stale
  t.match(replica, { status: 'STALE', problem: { code: 'FST_FLAGS_STORE_UNAVAILABLE' } })
  const version = await write('a', off)
  t.equal(isOn(replica, 'a'), true)
  const ready = once(replica, 'ready')
  await gate.open()
  await ready
  t.match(replica, { status: 'READY', problem: null, revision: version })
  t.equal(isOn(replica, 'a'), false)
})

t.test('documents damaged in Redis keep their last good value, or are not served; the others are', async (t) => {
  const { url, client, namespace, write, follow } = await build(t)
  const hash = `{${namespace}}:documents`
  await write('good', on)
  await write('half', on)
  const version = await write('head', on)
  await client.hset(hash, 'flag:half', (await client.hget(hash, 'flag:half'))!.slice(0, -3), 'flag:head', 'what is this?')
  const replica = follow(url)
  await replica.start(5000)
  t.same([replica.status, replica.revision, isOn(replica, 'good'), isOn(replica, 'half'), isOn(replica, 'head')], ['READY', version, true, false, false])
  t.equal(replica.problem?.code, 'FST_FLAGS_DAMAGED_DOCUMENT')

  const heard = once(replica, 'change')
  await write('half', on)
  await heard
  t.equal(isOn(replica, 'half'), true)
  t.equal(replica.damagedVersion('flag', 'half'), undefined)
  t.not(replica.damagedVersion('flag', 'head'), undefined)
})

t.test('a document of a newer version is served, without what this one does not know', async (t) => {
  const { url, write, follow } = await build(t)
  await write('newer', '{"enabled":true,"serve":"on","moon":"full","rules":[{"when":{"attribute":"x","operator":"telepathy"},"serve":"off"}]}')
  const replica = follow(url)
  await replica.start(5000)
  t.same([isOn(replica, 'newer'), replica.problem], [true, null])
})

t.test('an emptied Redis takes no flag away', async (t) => {
  const { url, client, namespace, write, follow } = await build(t)
  await write('a', on)
  const replica = follow(url)
  await replica.start(5000)
  const stale = once(replica, 'stale')
  await emptyNamespace(client, namespace)
  await stale
  t.match(replica, { status: 'STALE', problem: { code: 'FST_FLAGS_STORE_EMPTIED' } })
  t.equal(isOn(replica, 'a'), true)
})

t.test('a replica that was cut off for longer than the log is kept reloads', async (t) => {
  const { url, gate, namespace, write, follow } = await build(t)
  const short = new RedisStore({ redis: url, namespace, history: 2 })
  t.teardown(() => short.close())
  await gate.open()
  await write('same', on)
  const version = await write('a', on)
  const replica = follow()
  await replica.start(5000)
  const same = replica.snapshot.flag('same')
  await gate.shut()
  const { position: { epoch } } = await short.read()
  let expected = version
  for (const document of [off, on, off, on, off]) expected = (await short.write({ kind: 'flag', key: 'a', document, expected, epoch, by: null, id: randomUUID() })).version
  const change = once(replica, 'change')
  await gate.open()
  t.same(await change, [{ revision: expected, flags: ['a'], segments: [] }])
  t.equal(isOn(replica, 'a'), false)
  t.equal(replica.snapshot.flag('same'), same)
})
