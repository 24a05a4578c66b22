import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { storeContract } from '../src/store/contract.js'
import { RedisStore, type RedisStoreOptions } from '../src/store/redis.js'
import type { Position, Store, Write } from '../src/store/store.js'
import { makeFolder } from './helpers/folder.js'
import { freePort } from './helpers/program.js'
import { onPath } from './helpers/redis-server.js'
import { emptyNamespace, startOwnRedis, startRedis } from './helpers/redis.js'
import { documentsOf } from './helpers/reading.js'
import { requireOrSkip } from './helpers/require.js'
import { road } from './helpers/road.js'
import { refusal, until } from './helpers/until.js'

t.test('the contract of all stores', async (t) => {
  for (const { name, run } of storeContract(async () => {
    const { url, namespace, client } = await startRedis(t)
    return {
      open: ({ history }) => new RedisStore({ redis: url, namespace, history }),
      empty: () => emptyNamespace(client, namespace)
    }
  })) await t.test(name, run)
})

function open (t: Test, options: RedisStoreOptions): RedisStore {
  const store = new RedisStore(options)
  t.teardown(() => store.close())
  return store
}

async function put (store: Store, key: string, document: string | null, rest: Partial<Write> = {}) {
  const epoch = rest.epoch === undefined ? (await store.read()).position.epoch : rest.epoch
  return await store.write({ kind: 'flag', key, document, expected: 0, by: null, id: randomUUID(), ...rest, epoch })
}

t.test('every key and the channel lie in one slot of a Cluster', async (t) => {
  const { url, namespace, client } = await startRedis(t)
  const store = open(t, { redis: url, namespace })
  await put(store, 'a', '{}')
  await put(store, 's', '{}', { kind: 'segment' })
  const names = await client.keys(`*${namespace}*`)
  t.equal(names.length, 4, 'documents, log and two answers')
  for (const name of [...names, ...(await client.pubsub('CHANNELS', `*${namespace}*`) as string[])]) t.match(name, `{${namespace}}:`)
  t.equal((await client.pubsub('CHANNELS', `*${namespace}*`) as string[]).length, 1)
})

t.test('a value is its version, time and actor, then the document as it was sent', async (t) => {
  const { url, namespace, client } = await startRedis(t)
  const store = open(t, { redis: url, namespace })
  const { time } = await put(store, 'a', '{"a":[],"b":{},"c":1.0}', { by: 'al"ice\n' })
  t.equal(await client.hget(`{${namespace}}:documents`, 'flag:a'), `1 ${time} "al\\"ice\\n"\n{"a":[],"b":{},"c":1.0}`)
  t.equal(await client.hget(`{${namespace}}:documents`, '@revision'), '1')
  const [[id, fields]] = await client.xrange(`{${namespace}}:log`, '-', '+') as [[string, string[]]]
  t.equal(id, '1-0')
  t.same(fields.filter((_, i) => i % 2 === 0), ['from', 'to', 'kind', 'key', 'by', 'time', 'document'])
  t.equal(fields[3], await client.hget(`{${namespace}}:documents`, '@token'))
})

t.test('a log is kept to its length', async (t) => {
  const { url, namespace, client } = await startRedis(t)
  const store = open(t, { redis: url, namespace, history: 5 })
  for (let i = 0; i < 12; i++) await put(store, `a${i}`, '1')
  t.equal(await client.xlen(`{${namespace}}:log`), 5)
  t.equal((await store.history({ limit: 10 })).beginsAt, 8)
})

t.test('the scripts survive SCRIPT FLUSH', async (t) => {
  const { url, namespace, client } = await startRedis(t)
  const store = open(t, { redis: url, namespace })
  await put(store, 'a', '1')
  await client.script('FLUSH')
  await put(store, 'b', '1')
  await client.script('FLUSH')
  t.equal((await store.history({ limit: 10 })).changes.length, 2)
})

t.test('of 1,000 concurrent edits over 4 connections none is lost', async (t) => {
  const { url, namespace } = await startRedis(t)
  const stores = Array.from({ length: 4 }, () => open(t, { redis: url, namespace }))
  await put(stores[0]!, 'counter', '0')
  const { position: { epoch } } = await stores[0]!.read()
  let conflicts = 0
  await Promise.all(stores.map(async (store) => {
    let { version, document } = { version: 1, document: '0' as string | null }
    for (let done = 0; done < 250;) {
      try {
        version = (await put(store, 'counter', document = String(Number(document) + 1), { expected: version, epoch })).version
        done++
      } catch (error) {
        t.match(error, { code: 'FST_FLAGS_VERSION_CONFLICT' })
        conflicts++
        const [last] = (await store.history({ kind: 'flag', key: 'counter', limit: 1 })).changes
        version = last!.version
        document = last!.document
      }
    }
  }))
  t.match((await stores[0]!.history({ limit: 1 })).changes[0], { document: '1000', version: 1001 })
  t.ok(conflicts > 0, 'they did meet')
})

t.test('a value that cannot be read is told as damaged, beside all others, and may be overwritten', async (t) => {
  const { url, namespace, client } = await startRedis(t)
  const store = open(t, { redis: url, namespace })
  await put(store, 'a', '1')
  for (const [i, value] of ['', '{}', '1 2\n{}', 'x 2 null\n{}', '1 2 "\\x"\n{}', '1 2 {}\n{}'].entries()) await client.hset(`{${namespace}}:documents`, `flag:bad${i}`, value)
  await client.hset(`{${namespace}}:documents`, 'goal:of-a-later-version', 'anything')
  const reading = await store.read()
  t.match(await documentsOf(reading), [{ key: 'a' }])
  t.same(reading.kind === 'everything' && reading.damaged.map(({ key }) => key).sort(), ['bad0', 'bad1', 'bad2', 'bad3', 'bad4', 'bad5'])
  await put(store, 'bad0', '2', { expected: 77 })
  await t.rejects(put(store, 'bad0', '3', { expected: 77 }), { code: 'FST_FLAGS_VERSION_CONFLICT' })
})

t.test('a hash without its epoch, and a key of another type, are damaged, and nothing is written over them', async (t) => {
  const { url, namespace, client } = await startRedis(t)
  const store = open(t, { redis: url, namespace })
  await put(store, 'a', '1')
  const { position: { epoch } } = await store.read()
  await client.hdel(`{${namespace}}:documents`, '@epoch')
  await t.rejects(store.read(), { code: 'FST_FLAGS_STORE_DAMAGED', message: /@epoch/ })
  await t.rejects(put(store, 'b', '1', { epoch }), { code: 'FST_FLAGS_STORE_DAMAGED' })
  await t.rejects(put(store, 'b', '1', { epoch: null }), { code: 'FST_FLAGS_STORE_DAMAGED' })
  await client.del(`{${namespace}}:documents`)
  await client.set(`{${namespace}}:documents`, 'mine')
  await t.rejects(store.read(), { code: 'FST_FLAGS_STORE_DAMAGED', message: /holds something else/ })
  await t.rejects(put(store, 'b', '1', { epoch }), { code: 'FST_FLAGS_STORE_DAMAGED' })
  t.equal(await client.get(`{${namespace}}:documents`), 'mine')
})

t.test('a log of another history, or a lost one, costs a reload and no write', async (t) => {
  const { url, namespace, client } = await startRedis(t)
  const store = open(t, { redis: url, namespace })
  await put(store, 'a', '1')
  const { position } = await store.read()
  await put(store, 'b', '1')
  await client.del(`{${namespace}}:log`)
  t.match(await store.read(position), { kind: 'everything', lost: false })
  await client.xadd(`{${namespace}}:log`, '99-0', 'from', 'x')
  t.equal((await put(store, 'c', '1')).version, 3)
  t.match(await store.read(), { position: { revision: 3 } })
  await client.xdel(`{${namespace}}:log`, '3-0')
  await client.xadd(`{${namespace}}:log`, '2000-0', 'from', 'x', 'to', position.token!)
  t.match(await store.read({ ...position, revision: 2 }), { kind: 'everything' })
})

t.test('40 documents of 900 KB, more than a subscribed connection may be sent at once, are loaded and followed', async (t) => {
  const { url, namespace } = await startRedis(t)
  const [writer, store] = [open(t, { redis: url, namespace }), open(t, { redis: url, namespace })]
  await put(writer, 'start', '1')
  const { position } = await store.read()
  const document = JSON.stringify('x'.repeat(900_000))
  for (let i = 0; i < 40; i++) await put(writer, `big-${i}`, document, { epoch: position.epoch })
  const reading = await store.read()
  t.equal((await documentsOf(reading)).length, 41)
  const after = await store.read(position)
  t.equal(after.kind === 'changes' && after.changes.length, 40)
  t.equal((await store.history({ limit: 100 })).changes.length, 41)
})

t.test('documents are read as they are asked for: a reading that nobody uses costs no connection, one that is cut off in the middle rejects', async (t) => {
  const { url, namespace, client } = await startRedis(t)
  await put(open(t, { redis: url, namespace }), 'start', '1')
  const fields = Array.from({ length: 3000 }, (_, i) => [`flag:flag-${i}`, `1 1 null\n{"i":${i}}`]).flat()
  await client.hset(`{${namespace}}:documents`, ...fields)
  const way = await road(t, url)
  const store = open(t, { redis: way.url, namespace })
  const piecesOfNew = async () => {
    const reading = await store.read()
    if (reading.kind !== 'everything' || Array.isArray(reading.documents)) throw new Error('should come in pieces')
    return reading.documents[Symbol.asyncIterator]()
  }
  await piecesOfNew()
  t.equal(way.connections, 1)
  const cut = await piecesOfNew()
  t.ok((await cut.next()).value.length > 0)
  t.equal(way.connections, 2)
  way.cut()
  await t.rejects(async () => { while (!(await cut.next()).done); }, { code: 'FST_FLAGS_STORE_UNAVAILABLE' })
  await until(() => store.read().then(() => true, () => false))
  const left = await piecesOfNew()
  await left.next()
  await left.return?.()
  await until(() => way.connections === 1)
  const closed = await piecesOfNew()
  await closed.next()
  await store.close()
  await t.rejects(async () => { while (!(await closed.next()).done); }, { code: 'FST_FLAGS_STORE_CLOSED' })
})

t.test('with no Redis a first call is refused in time, and the store comes up with it', async (t) => {
  const { url, namespace } = await startRedis(t)
  const way = await road(t, url)
  way.state.closed = true
  const store = open(t, { redis: way.url, namespace })
  let woken = 0
  store.watch(() => { woken++ })
  await t.rejects(store.read(), { code: 'FST_FLAGS_STORE_UNAVAILABLE' })
  await t.rejects(put(store, 'a', '1', { epoch: null }), { code: 'FST_FLAGS_STORE_UNAVAILABLE' })
  way.state.closed = false
  await until(() => woken > 0)
  t.equal((await put(store, 'a', '1')).version, 1)
})

t.test('a lost connection comes back by itself, wakes, and what was missed is read', async (t) => {
  const { url, namespace } = await startRedis(t)
  const way = await road(t, url)
  const [near, far] = [open(t, { redis: way.url, namespace }), open(t, { redis: url, namespace })]
  await put(far, 'a', '1')
  const { position } = await near.read()
  let woken = 0
  near.watch(() => { woken++ })
  way.state.closed = true
  way.cut()
  await until(() => near.read(position).then(() => false, () => true))
  await put(far, 'b', '1')
  t.equal(woken, 0)
  way.state.closed = false
  await until(() => woken > 0)
  t.match(await near.read(position), { kind: 'changes', changes: [{ key: 'b' }] })
  woken = 0
  await put(far, 'c', '1')
  await until(() => woken > 0)
})

t.test('a write whose answer is lost is applied once, and answered when the connection is back', async (t) => {
  const { url, namespace } = await startRedis(t)
  const way = await road(t, url)
  const [near, far] = [open(t, { redis: way.url, namespace }), open(t, { redis: url, namespace })]
  const { version } = await put(near, 'a', '1')
  const { position: { epoch } } = await near.read()
  way.state.muteAnswers = true
  const writing = put(near, 'a', '2', { expected: version, epoch })
  await until(async () => (await far.read()).position.revision === 2)
  way.cut()
  way.state.muteAnswers = false
  t.equal((await writing).version, 2)
  t.equal((await far.read()).position.revision, 2)
})

t.test('a write that stays without answer is STORE_UNKNOWN, because it may have been applied', async (t) => {
  const { url, namespace } = await startRedis(t)
  const way = await road(t, url)
  const [near, far] = [open(t, { redis: way.url, namespace }), open(t, { redis: url, namespace })]
  await put(near, 'a', '1')
  const { position: { epoch } } = await near.read()
  way.state.muteAnswers = true
  const unknown = await put(near, 'a', '2', { expected: 1, epoch }).catch((error) => error)
  t.match(unknown, { code: 'FST_FLAGS_STORE_UNKNOWN', message: /no answer from Redis/ })
  t.notMatch(unknown.message, /nothing can be written/)
  t.equal((await far.read()).position.revision, 2, 'it had been')
})

t.test('a silent Redis is noticed while it is polled, and a store closes at once under it', async (t) => {
  const { url, namespace } = await startRedis(t)
  const way = await road(t, url)
  const store = open(t, { redis: way.url, namespace })
  const { position } = await put(store, 'a', '1').then(() => store.read())
  way.silence()
  await t.rejects(store.read(position), { code: 'FST_FLAGS_STORE_UNAVAILABLE' })
  await until(() => store.read(position).then(() => true, () => false))
  way.silence()
  await Promise.all([t.rejects(store.read(position), { code: 'FST_FLAGS_STORE_CLOSED' }), store.close()])
})

t.test('writes are refused with Redis\'s reason, and reads go on', async (t) => {
  const { url } = await startOwnRedis(t)
  const admin = new Redis(url)
  t.teardown(() => admin.disconnect())
  const store = open(t, { redis: url })
  await put(store, 'a', '1')
  const { position } = await store.read()
  await admin.config('SET', 'maxmemory', '1')
  await t.rejects(put(store, 'b', '1', { epoch: position.epoch }), { code: 'FST_FLAGS_STORE_UNAVAILABLE', message: /out of memory/ })
  await admin.config('SET', 'maxmemory', '0')
  await admin.call('ACL', 'SETUSER', 'reader', 'on', '>s3cret', '~*', '&*', '+@all', '-xadd')
  const reader = open(t, { redis: url.replace('//', '//reader:s3cret@') })
  const refused = await put(reader, 'b', '1', { epoch: position.epoch }).catch((error) => error)
  t.match(refused, { code: 'FST_FLAGS_STORE_UNAVAILABLE', message: /lacks a permission/ })
  t.notMatch(refused.message, /s3cret/)
  t.match(await reader.read(position), { kind: 'changes', changes: [] })
  const wrong = open(t, { redis: url.replace('//', '//reader:wr0ng@') })
  const unknown = await wrong.read().catch((error) => error)
  t.match(unknown, { code: 'FST_FLAGS_STORE_UNAVAILABLE', message: /WRONGPASS/ })
  t.notMatch(unknown.message, /wr0ng/)
})

t.test('a namespace that is emptied is lost, and a write of before is refused', async (t) => {
  const { url } = await startOwnRedis(t)
  const admin = new Redis(url)
  t.teardown(() => admin.disconnect())
  const store = open(t, { redis: url })
  await put(store, 'a', '1')
  const { position } = await store.read()
  await admin.flushall()
  t.match(await store.read(position), { kind: 'everything', lost: true, documents: [], position: { epoch: null, revision: 0, token: null } as Position })
  await t.rejects(put(store, 'a', '2', { expected: 1, epoch: position.epoch }), { code: 'FST_FLAGS_FOREIGN_EPOCH' })
})

t.test('a Redis that evicts keys is warned of, once', async (t) => {
  const { url } = await startOwnRedis(t)
  const admin = new Redis(url)
  t.teardown(() => admin.disconnect())
  await admin.config('SET', 'maxmemory-policy', 'allkeys-lru')
  const warnings: string[] = []
  const store = open(t, { redis: url, warn: (message) => warnings.push(message) })
  await until(() => warnings.length > 0)
  t.match(warnings, [/maxmemory-policy allkeys-lru.*noeviction/])
  await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await until(() => store.read().then(() => true, () => false))
  t.equal(warnings.length, 1)
})

t.test('whatever leads to Redis is taken, and a given client is neither used nor closed', async (t) => {
  const { url, namespace, client } = await startRedis(t)
  const { hostname: host, port } = new URL(url)
  const app = { one: client }
  for (const redis of [url, { url }, { host, port: Number(port) }, client, { client }, app, { url, keyPrefix: 'tenant:' }]) {
    const store = new RedisStore({ redis, namespace })
    await put(store, 'a', '1').catch((error) => t.match(error, { code: 'FST_FLAGS_VERSION_CONFLICT' }))
    await store.close()
  }
  t.equal(client.status, 'ready')
  t.equal(client.mode, 'normal')
  t.same((await client.keys(`*{${namespace}}:documents`)).sort(), [`tenant:{${namespace}}:documents`, `{${namespace}}:documents`].sort())
  await client.unlink(await client.keys(`tenant:{${namespace}}*`))
  for (const [redis, message] of [
    ['localhost:6379 pa55', /no URL of a Redis/], ['http://localhost', /no URL of a Redis/], [7, /must be a URL/], [null, /must be a URL/],
    [{ nodes: [] }, /"redis\.nodes" must list/], [{ sentinels: [], name: 'a' }, /"redis\.sentinels" must be/], [{ sentinels: [{ port: 1 }] }, /"redis\.name"/],
    [{ one: client, two: client }, /app\.redis\.one \(of one, two\)/]
  ] as Array<[never, RegExp]>) {
    t.throws(() => new RedisStore({ redis, namespace }), { code: 'FST_FLAGS_INVALID_OPTION', message })
  }
  for (const wrong of ['', 'a b', '{a}', 'x'.repeat(101)]) t.throws(() => new RedisStore({ redis: url, namespace: wrong }), { code: 'FST_FLAGS_INVALID_OPTION' })
})

t.test('two namespaces see nothing of each other', async (t) => {
  const [one, two] = [await startRedis(t), await startRedis(t)]
  const [a, b] = [open(t, { redis: one.url, namespace: one.namespace }), open(t, { redis: two.url, namespace: two.namespace })]
  let woken = 0
  b.watch(() => { woken++ })
  await b.read()
  woken = 0
  await put(a, 'a', '1')
  await put(a, 'b', '1')
  t.match(await b.read(), { position: { revision: 0 }, documents: [] })
  t.equal(woken, 0)
})

t.test('over TLS a server, and a Cluster that announces other addresses than it is reached at, are believed by their certificate only', async (t) => {
  const installed = onPath('redis-server') ?? onPath('valkey-server')
  if (!requireOrSkip(t, installed, 'redis-server', 'apt-get install redis-server')) return
  const folder = makeFolder(t)
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  // It is of localhost, and of no address.
  const { status } = spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', cert])
  if (!requireOrSkip(t, status === 0, 'openssl', 'apt-get install openssl')) return
  const port = await freePort()
  const { url } = await startOwnRedis(t, ['--cluster-enabled', 'yes', '--cluster-port', String(await freePort()), '--cluster-announce-ip', '127.0.0.1',
    '--tls-port', String(port), '--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', cert, '--tls-auth-clients', 'no', '--tls-cluster', 'yes'])
  const client = new Redis(url)
  t.teardown(() => client.disconnect())
  await client.cluster('ADDSLOTSRANGE', 0, 16383)
  await until(async () => /cluster_state:ok/.test(await client.cluster('INFO') as string))

  const text = `rediss://localhost:${port}`
  const tls = { ca: await readFile(cert, 'utf8') }
  const natMap = { [`127.0.0.1:${port}`]: { host: 'localhost', port } }
  const ways = [{ url: text, tls }, { nodes: [text], tls, natMap }, { url: `${text},${text}`, tls, natMap }]
  for (const [i, redis] of ways.entries()) {
    const store = open(t, { redis, namespace: `way-${i}` })
    await put(store, 'a', '1')
    t.equal((await store.read()).position.revision, 1)
  }
  for (const [redis, message] of [
    [text, /self-signed certificate/],
    [{ nodes: [text] }, /self-signed certificate/],
    [{ nodes: [text], tls }, /does not match certificate/],
    [{ url: text.replace('localhost', '127.0.0.1'), tls }, /does not match certificate/]
  ] as const) {
    const store = open(t, { redis: redis as RedisStoreOptions['redis'] })
    t.ok(await refusal(store, message))
  }
})
