import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { request as ask } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import flags, { type Trust } from '../src/index.js'
import { logs } from './helpers/logs.js'
import { until } from './helpers/until.js'

async function build (t: Test, trust?: Trust, server: { trustProxy?: boolean } = {}) {
  const { stream, lines } = logs()
  const app = Fastify({ logger: { stream }, ...server })
  t.teardown(() => app.close())
  await app.register(flags, { store: 'memory', trust })
  app.get('/', async (req) => req.flags.context)
  return { app, lines }
}

/** Whom the app believes it hears from when this peer says it is alice. */
async function heard (app: FastifyInstance, remoteAddress: string, headers: Record<string, string> = {}): Promise<string> {
  const answer = await app.inject({ url: '/', remoteAddress, headers: { 'x-user-id': 'alice', ...headers } })
  return answer.json().targetingKey ?? 'nobody'
}

t.test('unless said otherwise a loopback peer is believed, and no other', async (t) => {
  const { app } = await build(t)
  for (const address of ['127.0.0.1', '127.8.9.10', '::1', '::ffff:127.0.0.1']) t.equal(await heard(app, address), 'alice', address)
  for (const address of ['10.0.0.1', '128.0.0.1', '::2', '::ffff:10.0.0.1', 'fe80::1%eth0', 'nonsense']) t.equal(await heard(app, address), 'nobody', address)
})

t.test('a loopback peer is not believed when the request bears the mark of a proxy', async (t) => {
  const { app } = await build(t)
  for (const mark of ['forwarded', 'via', 'x-real-ip', 'x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-anything', 'x-forwarded']) {
    t.equal(await heard(app, '127.0.0.1', { [mark]: '' }), 'nobody', mark)
    t.equal(await heard(app, '127.0.0.1', { [mark.toUpperCase()]: 'for=127.0.0.1' }), 'nobody', mark)
  }
  t.equal(await heard(app, '127.0.0.1', { 'x-forward': 'a', reviaed: 'a' }), 'alice')
})

t.test('the marks are looked for in each request, also on a connection that was believed before', async (t) => {
  const { app } = await build(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  const send = async (header: string) => {
    socket.write(`GET / HTTP/1.1\r\nHost: x\r\nX-User-Id: alice\r\n${header}\r\n`)
    const [answer] = await once(socket, 'data')
    return String(answer).includes('alice')
  }
  t.equal(await send(''), true)
  t.equal(await send('Via: 1.1 proxy\r\n'), false)
  t.equal(await send(''), true)
})

t.test('the peer is the socket, whatever trustProxy makes of request.ip', async (t) => {
  const { app } = await build(t, ['10.0.0.0/8'], { trustProxy: true })
  t.equal(await heard(app, '192.0.2.1', { 'x-forwarded-for': '10.0.0.1' }), 'nobody')
  t.equal(await heard(app, '10.0.0.1', { 'x-forwarded-for': '192.0.2.1' }), 'alice')
})

t.test('a list believes the addresses and ranges in it only, IPv4 also when mapped into IPv6', async (t) => {
  const { app } = await build(t, ['10.0.0.0/8', '192.0.2.7', '2001:db8::/32', 'fe80::1'])
  for (const address of ['10.255.0.1', '::ffff:10.1.1.1', '192.0.2.7', '2001:db8::5', 'fe80::1%eth0']) t.equal(await heard(app, address), 'alice', address)
  for (const address of ['11.0.0.1', '192.0.2.8', '127.0.0.1', '::1', '2001:db9::1']) t.equal(await heard(app, address), 'nobody', address)
})

t.test('false believes nobody, "all" everybody', async (t) => {
  const nobody = (await build(t, false)).app
  t.equal(await heard(nobody, '127.0.0.1'), 'nobody')
  const everybody = await build(t, 'all')
  t.equal(await heard(everybody.app, '192.0.2.1', { via: '1.1 proxy' }), 'alice')
  t.ok(everybody.lines().some(({ level, msg }) => level === 40 && msg.includes('every client can say who it is')))
})

t.test('a function is asked once a connection, and only true counts', async (t) => {
  let calls = 0
  let verdict: unknown = true
  const { app, lines } = await build(t, () => { calls++; return verdict as boolean })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  for (let i = 0; i < 3; i++) {
    socket.write('GET / HTTP/1.1\r\nHost: x\r\nX-User-Id: alice\r\n\r\n')
    const [answer] = await once(socket, 'data')
    t.match(String(answer), 'alice')
  }
  t.equal(calls, 1)
  for (verdict of [1, 'yes', Promise.resolve(true), undefined]) t.equal(await heard(app, '127.0.0.1'), 'nobody')
  const complaints = lines().filter(({ level }) => level === 50)
  t.equal(complaints.length, 1)
  t.match(complaints[0]!.msg, /must return true or false/)
})

t.test('a function that throws believes nobody and is logged once', async (t) => {
  const { app, lines } = await build(t, () => { throw new Error('broken') })
  for (let i = 0; i < 3; i++) t.equal(await heard(app, '127.0.0.1'), 'nobody')
  t.equal(lines().filter(({ level, msg }) => level === 50 && msg.includes('threw')).length, 1)
})

t.test('a peer on a unix socket is local', { skip: process.platform === 'win32' && 'unix sockets only' }, async (t) => {
  const { app } = await build(t)
  const folder = await mkdtemp(join(tmpdir(), 'flags-'))
  t.teardown(() => rm(folder, { recursive: true }))
  const path = join(folder, 'socket')
  await app.listen({ path })
  const get = async (headers: Record<string, string>) => {
    const [answer] = await once(ask({ socketPath: path, path: '/', headers, agent: false }).end(), 'response')
    return JSON.parse(await text(answer))
  }
  t.same(await get({ 'x-user-id': 'alice' }), { targetingKey: 'alice' })
  t.same(await get({ 'x-user-id': 'alice', via: '1.1 proxy' }), {})
})

t.test('a TCP peer that has hung up, whose address nobody can tell any more, is not taken for a unix socket', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(flags, { store: 'memory' })
  const read = new Promise<unknown>((resolve) => {
    app.get('/', async (req, reply) => {
      req.raw.socket.destroy()
      await new Promise(setImmediate)
      t.equal(req.raw.socket.remoteAddress, undefined)
      resolve(req.flags.context)
      return reply.hijack()
    })
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as { port: number }).port, '127.0.0.1').on('error', () => {})
  socket.write('GET / HTTP/1.1\r\nHost: x\r\nX-User-Id: alice\r\n\r\n')
  t.same(await read, {})
})

t.test('over HTTP/2 the peer is judged as over HTTP/1.1, and is nobody once its session is gone', async (t) => {
  const app = Fastify({ http2: true })
  await app.register(flags, { store: 'memory' })
  app.get('/', async (req) => req.flags.context)
  const gone = new Promise<unknown>((resolve) => {
    app.get('/gone', async (req) => {
      leaving.destroy()
      await until(() => req.raw.stream.session === undefined || req.raw.stream.session.destroyed)
      resolve(req.flags.context)
      return {}
    })
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const [staying, leaving] = [connectHttp2(url).on('error', () => {}), connectHttp2(url).on('error', () => {})]
  t.teardown(async () => { staying.destroy(); leaving.destroy(); await app.close() })
  const get = async (headers: Record<string, string>) => JSON.parse(await text(staying.request({ ':path': '/', 'x-user-id': 'alice', ...headers })))
  t.same(await get({}), { targetingKey: 'alice' })
  t.same(await get({ via: '2 proxy' }), {})
  leaving.request({ ':path': '/gone', 'x-user-id': 'alice' }).on('error', () => {}).end()
  t.same(await gone, {})
})

t.test('the start log says whose headers count, and the first ignored one is logged with what to set', async (t) => {
  const { app, lines } = await build(t)
  t.match(lines()[0]!.msg, /identity headers \(x-user-id, x-user-groups, x-region\) count from this machine only/)
  await app.inject({ url: '/', remoteAddress: '192.0.2.1' })
  const told = () => lines().filter(({ msg }) => msg.includes('ignored x-user-id, x-region'))
  t.equal(told().length, 0)
  for (let i = 0; i < 3; i++) await heard(app, '192.0.2.1', { 'x-region': 'eu' })
  t.equal(told().length, 1)
  t.match(told()[0]!.msg, /trust: \['10\.0\.0\.0\/8'\]/)
  t.notMatch(JSON.stringify(lines()), /alice/)
})
