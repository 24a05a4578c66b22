import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import fastifyRedis, { type FastifyRedisPluginOptions } from '@fastify/redis'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { FastifyFlags } from '../src/facade.js'
import flags, { type FlagsOptions } from '../src/index.js'
import { logs } from './helpers/logs.js'
import { emptyNamespace, startRedis } from './helpers/redis.js'
import { until } from './helpers/until.js'

async function build (t: Test, options: FlagsOptions, prepare: (app: FastifyInstance) => Promise<FlagsOptions['redis'] | void> = async () => {}) {
  const { stream, lines } = logs()
  const app = Fastify({ logger: { stream } })
  t.teardown(() => app.close())
  const redis = await prepare(app)
  await app.register(flags, redis === undefined ? options : { ...options, redis })
  app.get('/', async (req) => req.flags.isEnabled('k'))
  return { app, lines, isOn: async () => (await app.inject('/')).json() as boolean }
}

for (const [form, redisOf] of Object.entries<(app: FastifyInstance, url: string) => Promise<FlagsOptions['redis']>>({
  'a URL': async (app, url) => url,
  '{ url }': async (app, url) => ({ url }),
  '{ host, port }': async (app, url) => ({ host: new URL(url).hostname, port: Number(new URL(url).port) }),
  'an ioredis client': async (app, url) => client(app, url),
  'an ioredis client that is not connected yet': async (app, url) => client(app, url, { lazyConnect: true }),
  '{ client }': async (app, url) => ({ client: client(app, url) }),
  'app.redis of @fastify/redis': async (app, url) => { await app.register(fastifyRedis, { url }); return app.redis },
  'a named app.redis.main of @fastify/redis': async (app, url) => { await app.register(fastifyRedis, { url, namespace: 'main' }); return app.redis.main },
  'app.redis of @fastify/redis with one named client': async (app, url) => { await app.register(fastifyRedis, { url, namespace: 'main' }); return app.redis }
})) {
  t.test(`flags are served from and written to Redis, given ${form}`, async (t) => {
    const { url, namespace } = await startRedis(t)
    const { app, isOn } = await build(t, { namespace }, (app) => redisOf(app, url))
    const other = await build(t, { namespace, redis: url })
    t.equal(await isOn(), false)
    await other.app.flags.admin.put('k', { enabled: true }, { by: 'alice' })
    await until(isOn)
    await app.flags.admin.put('k', { enabled: false })
    t.equal(await isOn(), false)
    await until(async () => !await other.isOn())
    t.pass('both see what either changes')
  })
}

function client (app: FastifyInstance, url: string, options: { lazyConnect?: boolean } = {}): Redis {
  const redis = new Redis(url, options)
  app.addHook('onClose', async () => { redis.disconnect() })
  return redis
}

t.test('a user of Redis with the rights that the README names, and no more, may do all of it', async (t) => {
  const { url, namespace, client } = await startRedis(t)
  const rights = /^```acl\n(.*)\n```$/m.exec(await readFile(fileURLToPath(new URL('../README.md', import.meta.url)), 'utf8'))![1]!
  const user = new URL(url)
  Object.assign(user, { username: `user-${namespace}`, password: 'pw' })
  await client.call('ACL', 'SETUSER', user.username, 'reset', 'on', '>pw', ...rights.replaceAll('{flags', `{${namespace}`).split(' '))
  t.teardown(() => client.call('ACL', 'DELUSER', user.username))
  const limited = { namespace, redis: user.href, admin: { tokens: { alice: 'alice-0123456789abcdef' } } }
  const [{ app, isOn }, other] = [await build(t, limited), await build(t, { namespace, redis: url })]
  const { flags: { admin } } = app
  await admin.put('k', { enabled: true, serve: { stages: [{ percentage: 50 }, { percentage: 100 }], guard: { errors: {} } }, experiment: {} })
  await admin.advance('k')
  await until(() => other.isOn())
  t.equal(await isOn(), true)
  await app.inject({ url: '/', headers: { 'x-user-id': 'u1' } })
  app.flags.for('u1').track('purchase')
  const { recorder, guards } = FastifyFlags.countingOf(app.flags)
  await Promise.all([recorder.flush(true), guards.flush(true)])
  t.equal((await admin.history('k')).history.length, 2)
  await admin.delete('k')
  await emptyNamespace(client, namespace)
  await until(async () => (await admin.changes({ limit: 1 })).changes[0]?.key === 'restored')
  await until(() => app.flags.problem === null)
  const denied = (await client.call('ACL', 'LOG') as string[][]).filter((entry) => entry.includes(user.username))
  t.same(denied, [])
})

t.test('an app\'s client is not used, not changed and not closed; our own connections are gone when the app is closed', async (t) => {
  const { url, namespace, client } = await startRedis(t)
  const redis = new Redis(url)
  t.teardown(() => redis.disconnect())
  const connections = async () => (await client.client('LIST') as string).split('\n').filter((line) => line.startsWith('id=')).map((line) => /^id=(\d+)/.exec(line)![1]!)
  await redis.ping()
  const before = await connections()
  const listeners = redis.eventNames().map((name) => [name, redis.listenerCount(name)])
  const app = Fastify()
  await app.register(flags, { redis, namespace })
  await app.flags.admin.put('k', { enabled: true })
  const ours = (await connections()).filter((id) => !before.includes(id))
  t.ok(ours.length > 0)
  await app.close()
  await until(async () => !(await connections()).some((id) => ours.includes(id)))
  t.same(redis.eventNames().map((name) => [name, redis.listenerCount(name)]), listeners)
  t.equal(redis.status, 'ready')
  t.equal(await redis.ping(), 'PONG')
})

t.test('what @fastify/redis takes to connect, the option takes, as far as types go', async (t) => {
  const options: Exclude<FastifyRedisPluginOptions, { client: unknown }> = { url: 'redis://localhost' }
  const redis: FlagsOptions['redis'] = options
  t.ok(redis)
})

t.test('an app starts while Redis is down, says so, and recovers by itself once Redis is there', async (t) => {
  const { url, namespace } = await startRedis(t)
  const writer = await build(t, { namespace, redis: url })
  await writer.app.flags.admin.put('k', { enabled: true })
  const relay = await startRelay(t, url)
  relay.close()
  const { app, lines, isOn } = await build(t, { namespace, redis: { host: '127.0.0.1', port: relay.port } })
  t.equal(await isOn(), false)
  t.ok(lines().some(({ level, msg }) => level === 40 && /has not answered yet; starting with the defaults/.test(msg)))
  await relay.open()
  await until(isOn)
  t.ok(lines().some(({ msg }) => /in sync with the store/.test(msg)))
  const problems = lines().filter(({ code }) => code === 'FST_FLAGS_STORE_UNAVAILABLE')
  t.equal(problems.length, 1, 'one line for one outage')
  await app.close()
})

t.test('until the store first answers bootstrap is served, and then what the store holds', async (t) => {
  const { url, namespace } = await startRedis(t)
  const writer = await build(t, { namespace, redis: url })
  await writer.app.flags.admin.put('k', { enabled: false })
  const relay = await startRelay(t, url)
  relay.close()
  const bootstrap = { flags: { k: { enabled: true } } }
  const { app, lines, isOn } = await build(t, { namespace, redis: `redis://127.0.0.1:${relay.port}`, bootstrap })
  t.same([await isOn(), app.flags.status], [true, 'STALE'])
  t.ok(lines().some(({ msg }) => msg.includes('starting with the bootstrap flags')))
  await relay.open()
  await until(() => app.flags.status === 'READY')
  t.equal(await isOn(), false)
  await t.rejects(build(t, { redis: url, bootstrap: { flags: { k: { enabled: 'yes' } } } as unknown as typeof bootstrap }), { code: 'FST_FLAGS_INVALID_OPTION' })
})

t.test('an app starts though Redis takes its connection and never answers', async (t) => {
  const sockets: Socket[] = []
  const silent = createServer((socket) => { sockets.push(socket.on('error', () => {})) }).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.teardown(() => { silent.close(); for (const socket of sockets) socket.destroy() })
  const { isOn } = await build(t, { redis: { host: '127.0.0.1', port: (silent.address() as { port: number }).port } })
  t.equal(await isOn(), false)
})

for (const [state, port] of [['is there', async (url: string) => new URL(url).port], ['is down', async () => '1']] as const) {
  t.test(`a closed app leaves nothing that keeps its process alive when Redis ${state}`, async (t) => {
    const { url, namespace } = await startRedis(t)
    const code = `
      import Fastify from 'fastify'
      import flags from ${JSON.stringify(new URL('../src/index.ts', import.meta.url).href)}
      const app = Fastify()
      await app.register(flags, { redis: 'redis://127.0.0.1:${await port(url)}', namespace: '${namespace}' })
      app.get('/', async (req) => req.flags.isEnabled('k'))
      await app.inject('/')
      await app.close()
      console.log('closed')
    `
    const child = spawn(process.execPath, [...process.execArgv, '--input-type=module', '--eval', code], { cwd: fileURLToPath(new URL('..', import.meta.url)), stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => child.kill())
    const [output, [exit]] = await Promise.all([text(child.stdout), once(child, 'exit')])
    t.equal(output, 'closed\n')
    t.equal(exit, 0)
  })
}

/** A way to Redis that can be closed: its port then refuses connections. */
async function startRelay (t: Test, url: string) {
  const { hostname, port } = new URL(url)
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    const upstream = connect(Number(port), hostname)
    for (const [from, to] of [[socket, upstream], [upstream, socket]] as const) {
      sockets.add(from)
      from.on('error', () => {}).on('close', () => to.destroy()).pipe(to)
    }
  })
  const open = async (at = 0) => { await once(server.listen(at, '127.0.0.1'), 'listening') }
  await open()
  const own = (server.address() as { port: number }).port
  const close = () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
  t.teardown(close)
  return { port: own, close, open: () => open(own) }
}
