import { randomUUID } from 'node:crypto'
import { cp, readdir, rm, stat, truncate } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import flags, { RedisStore, type FlagsOptions } from '../../src/index.js'
import { Replica } from '../../src/replica.js'
import type { StoredDocument } from '../../src/store/store.js'
import { asked, askWithoutPause } from '../helpers/answers.js'
import { callCli, runCli } from '../helpers/cli.js'
import { logs } from '../helpers/logs.js'
import { within } from '../helpers/promised.js'
import { startNode, type Node } from '../helpers/redis-node.js'
import { until } from '../helpers/until.js'

const documents = '{flags}:documents'

/** An app over Redis; one that others may change flags through, or one that only serves them. */
async function build (t: Test, redis: string, { admin = false, ...options }: Omit<FlagsOptions, 'admin'> & { admin?: boolean } = {}) {
  const { stream, lines } = logs()
  const app = Fastify({ logger: { stream } })
  t.teardown(() => app.close())
  await app.register(flags, { redis, ...options, ...admin && { admin: { tokens: { alice: 'alice-0123456789abcdef' } } } })
  const told = (code: string) => lines().filter((line) => line.code === `FST_FLAGS_${code}`)
  return { app, flags: app.flags, service: app.flags.admin, told, lines }
}

async function fill (service: Awaited<ReturnType<typeof build>>['service'], count = 20): Promise<void> {
  await service.import({
    segments: { eu: { when: { attribute: 'region', operator: 'eq', value: 'eu' } } },
    flags: { ...asked, ...Object.fromEntries(Array.from({ length: count }, (_, i) => [`flag-${i}`, { enabled: i % 2 === 0 }])) }
  }, { by: 'alice' })
}

/** What Redis holds, beside where the store stands. */
async function held ({ client }: Node): Promise<Record<string, string>> {
  const all = await client.hgetall(documents)
  return Object.fromEntries(Object.entries(all).filter(([field]) => !field.startsWith('@')))
}

/** Milliseconds until something is so. A turn of this process counts as 50 at most: how late a busy machine gives it is not the promise's. */
async function lasts (ask: () => Promise<boolean> | boolean): Promise<number> {
  const begun = performance.now()
  let [turn, late] = [begun, 0]
  const timer = setInterval(() => {
    const now = performance.now()
    late += Math.max(0, now - turn - 50)
    turn = now
  }, 5)
  await until(ask)
  clearInterval(timer)
  return performance.now() - begun - late
}

const same = (a: object, b: object) => JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort())

/** Milliseconds until all flags are back in a Redis that was emptied. */
async function restored (t: Test, empty: (node: Node) => Promise<void>): Promise<{ 'everything is back': number } | undefined> {
  const node = await startNode(t)
  if (node === undefined) return undefined
  const keeper = await build(t, node.url, { admin: true })
  const reader = await build(t, node.url)
  await fill(keeper.service)
  await keeper.service.delete('flag-3', { by: 'bob' })
  const { version } = await keeper.service.put('flag-4', { enabled: false, description: 'the last change' }).then(({ flag }) => flag)
  await until(() => reader.flags.revision === version)
  const before = await held(node)
  const asking = [keeper, reader].map(({ flags }) => askWithoutPause(t, flags))

  await empty(node)
  const took = await lasts(async () => same(await held(node), before))
  await until(() => [keeper, reader].every(({ flags }) => flags.status === 'READY' && flags.revision > version))
  for (const one of asking) await one.end()

  t.equal(keeper.told('STORE_RESTORED').length, 1)
  for (const { told, flags } of [keeper, reader]) {
    t.ok(told('STORE_EMPTIED').length <= 1, 'said once at most')
    t.equal(told('STORE_REPLACED').length + told('WRITES_LOST').length, 0, 'nothing was lost')
    t.equal(flags.problem, null)
  }
  const { changes: [last] } = await keeper.service.changes({ limit: 1 })
  t.match(last, { kind: 'store', key: 'restored', updatedBy: 'restored', details: { revision: version } })
  t.match(await keeper.service.history('flag-4'), { history: [{ version, flag: { description: 'the last change' } }], beginsAt: last!.version })
  const written = await reader.service.put('flag-3', { enabled: true })
  t.ok(written.flag.version > version + 100, 'and no version is used again, not even one that nobody here knew')
  await until(() => keeper.flags.for('u').isEnabled('flag-3'))
  const { flag } = await keeper.service.put('flag-4', { enabled: true }, { version })
  t.ok(flag.version > written.flag.version, 'an ETag of before is still good for what did not change')
  return { 'everything is back': took }
}

for (const [fault, empty] of Object.entries<(node: Node) => Promise<void>>({
  'after FLUSHALL': async ({ client }) => { await client.flushall() },
  'after a restart without its data': async (node) => {
    const [, folder] = await node.client.config('GET', 'dir') as [string, string]
    node.signal('SIGKILL')
    await until(() => node.client.status !== 'ready')
    await rm(join(folder, 'appendonlydir'), { recursive: true })
    await node.restart()
  }
})) {
  t.test(`4: ${fault} all flags are served on, and are back within 2 s with their versions; the history says so`, (t) => within(t, { 'everything is back': 2000 }, (t) => restored(t, empty)))
}

t.test('4: many instances that put back at once have one result, and nobody but them puts anything back', async (t) => {
  const node = await startNode(t)
  if (node === undefined) return
  const keepers = await Promise.all(Array.from({ length: 4 }, () => build(t, node.url, { admin: true })))
  await fill(keepers[0]!.service)
  await until(() => keepers.every(({ flags }) => flags.for('u').isEnabled('flag-18')))
  const before = await held(node)
  for (let i = 0; i < 3; i++) {
    await node.client.flushall()
    await until(async () => same(await held(node), before))
    await until(() => keepers.every(({ flags: { status, revision } }) => status === 'READY' && revision === keepers[0]!.flags.revision))
    t.equal(keepers.reduce((sum, { told }) => sum + told('STORE_RESTORED').length, 0), i + 1)
  }
  for (const { told } of keepers) t.equal(told('STORE_REPLACED').length, 0)

  const reader = await build(t, node.url)
  for (const { app } of keepers) await app.close()
  await node.client.flushall()
  await until(() => reader.flags.problem?.code === 'FST_FLAGS_STORE_EMPTIED')
  await pause(1200)
  t.equal(await node.client.exists(documents), 0, 'an app that only reads flags puts nothing back')
  t.same([reader.flags.status, reader.flags.for('u').isEnabled('flag-18')], ['STALE', true])
})

t.test('4: the highest revision wins until the first ordinary write', async (t) => {
  const node = await startNode(t)
  if (node === undefined) return
  const stores = Array.from({ length: 3 }, () => new RedisStore({ redis: node.url }))
  t.teardown(() => Promise.all(stores.map((store) => store.close())))
  const document = (key: string, version: number): StoredDocument => ({ kind: 'flag', key, version, time: 1000, by: 'alice', document: '{}' })
  const position = (revision: number) => ({ epoch: 'one', revision, token: `token-${revision}` })
  for (const order of [[7, 8, 9], [9, 8, 7], [8, 9, 7]]) {
    await node.client.flushall()
    await Promise.all(order.map((revision, i) => stores[i]!.restore(position(revision), [document('a', 5), document(`only-${revision}`, revision)])))
    t.same(Object.keys(await held(node)).sort(), ['flag:a', 'flag:only-9'])
    t.match(await stores[0]!.read(position(9)), { kind: 'changes', changes: [{ kind: 'store', key: 'restored' }] }, 'who held what was put back goes on from there')
    t.match(await stores[0]!.read(position(10)), { kind: 'everything', lost: true }, 'who held more lost it')
    t.match(await stores[0]!.read({ ...position(9), token: 'another' }), { kind: 'everything', lost: true })
    t.match(await stores[0]!.read(position(3)), { kind: 'everything', lost: false }, 'who held less catches up')
  }
  t.same(await node.client.keys('*restore:*'), [], 'nothing is left of the others')
  await stores[0]!.note({ key: 'lost', by: null, document: null }, 'one')
  t.equal(await stores[1]!.restore(position(10), [document('a', 10)]), true, 'what is only noted is no write')
  const { version } = await stores[0]!.write({ kind: 'flag', key: 'b', document: '{}', expected: 0, epoch: 'one', by: null, id: randomUUID() })
  t.equal(await stores[1]!.restore(position(5000), [document('c', 5000)]), false)
  t.same(Object.keys(await held(node)).sort(), ['flag:a', 'flag:b'])
  t.ok(version > 1010)
  t.equal(await node.client.ttl(documents), -1, 'and it is there to stay')
})

t.test('4: who held more than was put back at first puts that back; after an ordinary write it tells what is lost instead', async (t) => {
  const node = await startNode(t)
  if (node === undefined) return
  for (const written of [false, true]) {
    await node.client.flushall()
    const { store, gate } = gated(node.url)
    const ahead = new Replica({ store, restores: true })
    const problems: string[] = []
    ahead.on('problem', ({ code, message }) => { problems.push(code + message) })
    await ahead.start()
    await put(ahead, 'a')
    const { store: other, gate: otherGate } = gated(node.url)
    const behind = new Replica({ store: other, restores: true })
    await behind.start()
    await until(() => behind.revision === 1)
    await otherGate.close()
    const { version } = await put(ahead, 'latest')
    await until(() => ahead.revision === version)
    await gate.close()
    await node.client.flushall()
    otherGate.open()
    await until(async () => same(Object.keys(await held(node)), ['flag:a']))
    await until(() => behind.revision > 1000 && behind.status === 'READY')
    if (written) await put(behind, 'ordinary')
    gate.open()
    await until(() => ahead.status === 'READY' && ahead.epoch === behind.epoch && ahead.revision > 1000 && ahead.revision === behind.revision)
    t.same(Object.keys(await held(node)).sort(), written ? ['flag:a', 'flag:ordinary'] : ['flag:a', 'flag:latest'])
    if (written) await until(async () => (await store.history({ limit: 1 })).changes[0]?.key === 'lost')
    t.equal(problems.some((text) => /WRITES_LOST.*flag latest \(version 2\)/.test(text)), written)
    t.same([...behind.snapshot.flags()].map(({ key }) => key).sort(), [...ahead.snapshot.flags()].map(({ key }) => key).sort())
    await Promise.all([ahead.close(), behind.close()])
  }
})

t.test('4: a write that races the loss is refused, never applied to an empty store', async (t) => {
  const node = await startNode(t)
  if (node === undefined) return
  const reader = await build(t, node.url)
  const keeper = await build(t, node.url, { admin: true })
  await fill(keeper.service)
  await until(() => reader.flags.for('u').isEnabled('flag-18'))
  const count = Object.keys(await held(node)).length
  const load = { over: false }
  const refused = new Set<string>()
  const acknowledged: Array<{ key: string, version: number }> = []
  const writing = Promise.all([keeper, reader].flatMap(({ service }, who) => [0, 1].map(async (line) => {
    for (let i = 0; !load.over; i++) {
      const key = `raced-${who}-${line}-${i}`
      await service.put(key, { enabled: true }).then(({ flag: { version } }) => { acknowledged.push({ key, version }) }, ({ code }) => { refused.add(code) })
    }
  })))
  for (let i = 0; i < 3; i++) {
    await pause(100)
    await node.client.flushall()
    await until(async () => Object.keys(await held(node)).length >= count)
  }
  load.over = true
  await writing
  for (const code of refused) t.match(code, /^FST_FLAGS_(FOREIGN_EPOCH|STORE_UNKNOWN|STORE_UNAVAILABLE|VERSION_CONFLICT)$/)
  const now = await held(node)
  for (const key of ['flag:flag-18', 'segment:eu', 'flag:asked-split']) t.ok(now[key] !== undefined, `${key} is there`)
  t.equal(new Set(acknowledged.map(({ version }) => version)).size, acknowledged.length, 'no version was given twice')

  const store = new RedisStore({ redis: node.url })
  t.teardown(() => store.close())
  await keeper.app.close()
  const { position: { epoch } } = await store.read()
  await node.client.flushall()
  for (const expected of [0, 1]) await t.rejects(store.write({ kind: 'flag', key: 'a', document: '{}', expected, epoch, by: null, id: randomUUID() }), { code: 'FST_FLAGS_FOREIGN_EPOCH' })
  t.equal(await node.client.exists(documents), 0)
})

t.test('4: after a reset on purpose it stays empty', async (t) => {
  const node = await startNode(t)
  if (node === undefined) return
  const keeper = await build(t, node.url, { admin: true })
  await fill(keeper.service)
  const { revision } = keeper.flags

  t.match(await callCli(['reset', '--redis', node.url]), { code: 2, stderr: /this removes all flags.*--yes/ })
  t.match(await callCli(['reset', '--redis', 'redis://127.0.0.1:1', '--yes']), { code: 3, stderr: /no answer from Redis/ })
  t.equal(keeper.flags.revision, revision)

  const done = await runCli(t, ['reset', '--redis', node.url, '--namespace', 'flags', '--yes'])
  t.match(done, { code: 0, stdout: /^24 flags and segments were removed from namespace flags at redis:/ })
  await until(() => keeper.flags.for().getAll()['flag-1'] === undefined)
  t.match(keeper.told('STORE_RESET'), [{ level: 40 }])
  t.equal(keeper.told('STORE_REPLACED').length + keeper.told('WRITES_LOST').length, 0)
  await pause(1200)
  t.same(await held(node), {})
  t.match((await keeper.service.changes()).changes, [{ kind: 'store', key: 'reset', updatedBy: 'fastify-flags reset' }])
  await node.client.flushall()
  await until(() => keeper.told('STORE_RESTORED').length === 1)
  t.same(await held(node), {}, 'and what is put back after a loss is that nothing is there')
  t.match(await node.client.hget(documents, '@epoch'), /^reset:/)
  await until(() => keeper.flags.status === 'READY')
  const { flag } = await keeper.service.put('new', { enabled: true })
  t.ok(flag.version > revision)
})

t.test('4: an instance that was out of sync for a day restores nothing, and serves on', async (t) => {
  const node = await startNode(t)
  if (node === undefined) return
  const { now } = Date
  t.teardown(() => { Date.now = now })
  for (const [minutes, restored] of [[9, true], [24 * 60, false], [11, false]] as const) {
    await node.client.flushall()
    const { store, gate } = gated(node.url)
    const replica = new Replica({ store, restores: true })
    await replica.start()
    await put(replica, 'a')
    await gate.close()
    await node.client.flushall()
    Date.now = () => now() + minutes * 60_000
    gate.open()
    if (restored) await until(async () => await node.client.exists(documents) === 1)
    else await until(() => replica.problem?.code === 'FST_FLAGS_STORE_EMPTIED')
    if (!restored) await pause(1200)
    t.equal(await node.client.exists(documents), Number(restored), `${minutes} minutes`)
    t.ok(replica.snapshot.flag('a'))
    Date.now = now
    await replica.close()
  }
})

t.test('4: 100,000 flags are put back while Redis and this process go on answering', (t) => within(t, { PING: 300 }, async (t) => {
  const node = await startNode(t, ['--appendonly', 'no'])
  if (node === undefined) return undefined
  const store = new RedisStore({ redis: node.url })
  t.teardown(() => store.close())
  const text = JSON.stringify({ enabled: true, serve: { percentage: 25 }, description: 'x'.repeat(100) })
  function * many (): Generator<StoredDocument> {
    for (let i = 1; i <= 100_000; i++) yield { kind: 'flag', key: `flag-${i}`, version: i, time: 1000, by: 'alice', document: text }
  }
  const load = { over: false }
  let slowest = 0
  let stalled = 0
  const pinging = (async () => {
    while (!load.over) {
      const begun = performance.now()
      await node.client.ping().catch(() => {}) // too late to be waited for, and so a duration of its own
      slowest = Math.max(slowest, performance.now() - begun)
      await pause(2)
    }
  })()
  const ticking = (async () => {
    for (let last = performance.now(); !load.over; last = performance.now()) {
      await pause(1)
      stalled = Math.max(stalled, performance.now() - last)
    }
  })()
  const begun = performance.now()
  t.equal(await store.restore({ epoch: 'one', revision: 100_000, token: 'token' }, many()), true)
  const took = performance.now() - begun
  load.over = true
  await Promise.all([pinging, ticking])
  t.equal(await node.client.hlen(documents), 100_003)
  t.comment(`put back in ${Math.round(took)} ms; slowest PING ${Math.round(slowest)} ms; longest stall ${Math.round(stalled)} ms`)
  return { PING: slowest }
}))

/** Milliseconds until three apps serve what a Redis still has that lost its last writes. */
async function converged (t: Test, cut: (folder: string, backup: string) => Promise<void>): Promise<{ convergence: number } | undefined> {
  const node = await startNode(t)
  if (node === undefined) return undefined
  const [one, two, three] = [await build(t, node.url, { admin: true }), await build(t, node.url, { admin: true }), await build(t, node.url)] as const
  await fill(one.service)
  await one.service.put('kept', { enabled: true })
  const [, folder] = await node.client.config('GET', 'dir') as [string, string]
  const before = await held(node)
  const backup = join(folder, 'backup')
  await cp(join(folder, 'appendonlydir'), backup, { recursive: true })
  const { flag: { version: first } } = await one.service.put('mine', { enabled: true })
  await one.service.delete('flag-1')
  const { flag: { version: third } } = await two.service.put('flag-2', { enabled: false })
  await until(() => [one, two, three].every(({ flags }) => flags.revision === third))
  const asking = [one, two, three].map(({ flags }) => askWithoutPause(t, flags))

  node.signal('SIGKILL')
  await until(() => node.client.status !== 'ready')
  await cut(folder, backup)
  await node.restart()
  const took = await lasts(() => [one, two, three].every(({ flags }) => flags.status === 'READY' && flags.for('u').isEnabled('flag-2') && !flags.for('u').isEnabled('mine')))
  for (const asked of asking) await asked.end()

  await until(() => one.told('WRITES_LOST').length + two.told('WRITES_LOST').length === 2)
  t.match(one.told('WRITES_LOST')[0], { level: 40, msg: `2 writes that it had acknowledged to this process: flag mine (version ${first}), flag flag-1 (removed as version ${first + 1})` })
  t.match(two.told('WRITES_LOST')[0], { msg: `1 writes that it had acknowledged to this process: flag flag-2 (version ${third})` })
  t.match(one.flags.problem, { code: 'FST_FLAGS_WRITES_LOST' })
  t.equal(three.told('WRITES_LOST').length, 0)
  for (const { told } of [one, two, three]) t.equal(told('STORE_REPLACED').length, 1)
  await until(async () => (await three.service.changes({ limit: 2 })).changes.every(({ key }) => key === 'lost'))
  const { changes } = await three.service.changes({ limit: 2 })
  t.same(changes.flatMap(({ details }) => (details as { writes: unknown[] }).writes).map((write) => (write as { key: string }).key).sort(), ['flag-1', 'flag-2', 'mine'])
  t.same(await held(node), before, 'nothing was made again')
  await until(() => [one, two, three].every(({ flags }) => flags.revision === changes[0]!.version))
  const { flag } = await one.service.put('mine', { enabled: true })
  await until(() => three.flags.revision === flag.version && two.flags.revision === flag.version)
  return { convergence: took }
}

for (const [fault, cut] of Object.entries<(folder: string, backup: string) => Promise<void>>({
  'an older data set': async (folder, backup) => {
    await rm(join(folder, 'appendonlydir'), { recursive: true })
    await cp(backup, join(folder, 'appendonlydir'), { recursive: true })
  },
  'a cut AOF': async (folder, backup) => {
    const name = (await readdir(backup)).find((file) => file.endsWith('.incr.aof'))!
    const kept = (await stat(join(backup, name))).size
    await truncate(join(folder, 'appendonlydir', name), kept + 7)
  }
})) {
  t.test(`5: after a restart with ${fault} all converge on it within 2 s, and each acknowledged write that is gone is told, never made again`, (t) => within(t, { convergence: 2000 }, (t) => converged(t, cut)))
}

t.test('5: a failover that lost writes, whose revisions stand for others now, is followed and told', (t) => within(t, { convergence: 2000 }, async (t) => {
  const [primary, successor] = [await startNode(t), await startNode(t)]
  if (primary === undefined || successor === undefined) return undefined
  const way = await startWay(t, primary.url)
  const one = await build(t, way.url, { admin: true })
  const two = await build(t, way.url)
  await fill(one.service)
  await one.service.put('kept', { enabled: true })
  await successor.client.replicaof('127.0.0.1', Number(new URL(primary.url).port))
  await until(async () => same(await held(successor), await held(primary)))
  await successor.client.replicaof('NO', 'ONE')
  const { flag: { version } } = await one.service.put('mine', { enabled: true })
  await until(() => two.flags.revision === version)
  const asking = [one, two].map(({ flags }) => askWithoutPause(t, flags))

  // On the other side the same revision is given to another write, and one more follows.
  const other = await build(t, successor.url)
  const { flag: { version: again } } = await other.service.put('theirs', { enabled: true })
  t.equal(again, version)
  await other.service.put('mine', { enabled: false })
  way.lead(successor.url)
  const took = await lasts(() => [one, two].every(({ flags }) => flags.status === 'READY' && flags.for('u').isEnabled('theirs') && !flags.for('u').isEnabled('mine')))
  for (const asked of asking) await asked.end()
  await until(() => one.told('WRITES_LOST').length === 1)
  t.match(one.told('WRITES_LOST')[0], { msg: `flag mine (version ${version})` })
  t.match(two.told('WRITES_LOST').length, 0)
  await until(async () => (await two.service.changes({ limit: 1 })).changes[0]?.key === 'lost')
  t.match((await two.service.changes({ limit: 1 })).changes[0], { details: { writes: [{ kind: 'flag', key: 'mine', version }] } })
  t.equal(two.service.get('mine').enabled, false)
  return { convergence: took }
}))

/** A store whose reads fail while its gate is closed, as if Redis could not be reached. Closing waits for the read under way. */
function gated (url: string) {
  const store = new RedisStore({ redis: url })
  const read = store.read.bind(store)
  let closed = false
  let underWay: Promise<unknown> = Promise.resolve()
  store.read = async (since) => {
    if (closed) throw new Error('the gate is closed')
    const reading = read(since)
    underWay = reading.catch(() => {})
    return await reading
  }
  const gate = {
    async close () {
      closed = true
      await underWay
    },
    open () { closed = false }
  }
  return { store, gate }
}

async function put (replica: Replica, key: string) {
  const written = await replica.write({ kind: 'flag', key, document: '{"enabled":true}', expected: 0, epoch: replica.epoch, by: 'alice', id: randomUUID() })
  await replica.sync(written.version)
  return written
}

/** A port that leads to one Redis, and then to another, as a name that moves with the primary does. */
async function startWay (t: Test, url: string) {
  let port = Number(new URL(url).port)
  const sockets = new Set<Socket>()
  const cut = () => { for (const socket of sockets) socket.destroy() }
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    for (const [from, to] of [[near, far], [far, near]] as const) {
      sockets.add(from)
      from.on('error', () => {}).on('close', () => { sockets.delete(from); to.destroy() }).pipe(to)
    }
  })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.close(); cut() })
  const address = server.address()
  return {
    url: `redis://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`,
    lead (to: string) {
      port = Number(new URL(to).port)
      cut()
    }
  }
}
