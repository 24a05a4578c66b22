import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { buildSidecar } from '../src/sidecar/app.js'
import { report } from '../src/sidecar/report.js'
import { readSettings, type Settings } from '../src/sidecar/settings.js'
import { makeFolder } from './helpers/folder.js'
import { startRedis } from './helpers/redis.js'
import { until } from './helpers/until.js'

const secret = (name: string) => `${name}-secret-of-32-characters-xxxxx`
const bearer = (name: string) => ({ authorization: `Bearer ${secret(name)}` })

async function build (t: Test, line: string, env: Record<string, string> = {}): Promise<{ app: FastifyInstance, settings: Settings }> {
  const settings = readSettings(`${line.includes('--log-level') ? '' : '--log-level silent '}${line}`.trim().split(' '), env)
  const app = await buildSidecar(settings)
  t.teardown(() => app.close())
  return { app, settings }
}

async function ask (app: FastifyInstance, url: string, headers: Record<string, string> = {}) {
  const response = await app.inject({ url, headers })
  return { status: response.statusCode, ...response.json() }
}

t.test('evaluation stands at the root, and callers say who asks', async (t) => {
  const { app } = await build(t, '--memory')
  await app.flags.admin.put('for-alice', { enabled: true, serve: 'off', targets: [{ users: ['alice'] }] })
  t.match(await ask(app, '/flags/for-alice/evaluate?user=alice'), { status: 200, cause: 'target-user' })
  t.match(await ask(app, '/flags/for-alice/evaluate?user=alice', { 'x-user-id': 'bob' }), { status: 200, cause: 'default' }, 'a header from this machine goes before')
  t.match(await ask(app, '/flags/for-alice/evaluate?user=alice', { 'x-user-id': 'bob', 'x-forwarded-for': '1.2.3.4' }), { cause: 'target-user' }, 'unless a proxy marked it')
})

t.test('OpenFeature\'s clients are answered, behind a proxy as well, and a path that cannot be read is an error of their protocol', async (t) => {
  const { app } = await build(t, '--memory --public-url https://example.com/flags --cors all')
  await app.flags.admin.put('for-alice', { enabled: true, serve: 'off', targets: [{ users: ['alice'] }] })
  const post = (url: string) => app.inject({ method: 'POST', url, headers: { origin: 'https://shop.example' }, payload: { context: { targetingKey: 'alice' } } })
  t.match((await post('/ofrep/v1/evaluate/flags/for-alice')).json(), { value: true, reason: 'TARGETING_MATCH' })
  const all = await post('/ofrep/v1/evaluate/flags')
  t.match(all.headers, { 'access-control-allow-origin': '*', etag: /^"/ })
  t.match(all.json(), { eventStreams: [{ endpoint: { origin: 'https://example.com', requestUri: /^\/flags\/ofrep\/v1\/events\?since=/ } }] })
  t.match((await post('/ofrep/v1/evaluate/flags/%zz')).json(), { key: '%zz', errorCode: 'GENERAL' })
})

t.test('without admin tokens the admin routes are off, and say how to open them', async (t) => {
  const { app } = await build(t, '--memory')
  t.match(await ask(app, '/admin/flags'), { status: 404, code: 'FST_FLAGS_ROUTE_NOT_FOUND', message: /the admin routes are off; set FLAGS_ADMIN_TOKENS=name=secret/ })
  t.match(await ask(app, '/administrator?x'), { status: 404, message: 'There is no route GET /administrator' })
})

t.test('an admin token changes flags and its name stands in the history; a read token reads', async (t) => {
  const { app } = await build(t, '--memory', { FLAGS_ADMIN_TOKENS: `alice=${secret('a')},alice=${secret('b')}`, FLAGS_READ_TOKENS: `board=${secret('r')}` })
  const put = (name: string, key: string) => app.inject({ method: 'PUT', url: `/admin/flags/${key}`, headers: bearer(name), payload: { enabled: true } })
  t.equal((await put('a', 'one')).statusCode, 201)
  t.equal((await put('b', 'two')).statusCode, 201)
  t.equal((await put('r', 'three')).statusCode, 403)
  t.match(await ask(app, '/admin/flags', bearer('r')), { status: 200, flags: [{ key: 'one', updatedBy: 'alice' }, { key: 'two', updatedBy: 'alice' }] })
  t.match(await ask(app, '/admin/flags'), { status: 401 })
  t.match(await ask(app, '/flags/one/evaluate'), { status: 200, enabled: true })
})

t.test('evaluation and browser tokens close the evaluation routes', async (t) => {
  const { app } = await build(t, '--memory', { FLAGS_EVALUATION_TOKENS: `shop=${secret('s')}`, FLAGS_BROWSER_TOKENS: `web=${secret('w')}` })
  await app.flags.admin.put('shown', { enabled: true, public: true })
  await app.flags.admin.put('hidden', { enabled: true })
  t.match(await ask(app, '/flags'), { status: 401 })
  t.match(await ask(app, '/flags', bearer('s')), { flags: [{ key: 'hidden' }, { key: 'shown' }] })
  t.match((await ask(app, '/flags', bearer('w'))).flags, [{ key: 'shown' }])
  t.match(await ask(app, '/healthz'), { status: 'ok' })
  t.match(await ask(app, '/readyz'), { status: 'READY' })
})

t.test('readyz tells what it serves, and doubts an environment that no flag knows', async (t) => {
  const { app } = await build(t, '--memory --environment prodution')
  const response = await app.inject('/readyz')
  t.equal(response.statusCode, 200)
  t.equal(response.headers['cache-control'], 'no-store')
  t.strictSame(response.json(), { status: 'READY', environment: 'prodution', revision: 0 })
  await app.flags.admin.put('everywhere', { enabled: true })
  t.notOk('warning' in await ask(app, '/readyz'))
  await app.flags.admin.put('staged', { environments: { production: { enabled: true }, staging: { enabled: true } } })
  t.equal((await ask(app, '/readyz')).warning, 'no flag knows the environment prodution; known are production, staging')
  await app.flags.admin.put('slip', { environments: { prodution: { enabled: true } } })
  t.notOk('warning' in await ask(app, '/readyz'))
})

t.test('with Redis down it starts, is not ready, and says so without naming hosts', async (t) => {
  const { app, settings } = await build(t, '--redis redis://:hunter2@127.0.0.1:1')
  await until(() => app.flags.problem !== null)
  const response = await app.inject('/readyz')
  t.equal(response.statusCode, 503)
  t.strictSame(response.json(), { status: 'NOT_READY', environment: 'production', revision: 0, problem: 'FST_FLAGS_STORE_UNAVAILABLE' })
  t.match(await ask(app, '/flags/x/evaluate'), { status: 503, code: 'FST_FLAGS_NOT_READY' })
  t.match(await ask(app, '/healthz'), { status: 'ok' })
  const told = report(settings, 'http://127.0.0.1:8080', app.flags)
  t.match(told, /flags +none yet, and it keeps trying/)
  t.notMatch(told, 'hunter2')
})

t.test('what is told at the start says where, from what, for whom, what is closed and how to open it', async (t) => {
  const cwd = makeFolder(t, { 'flags.json': readFileSync('examples/flags.json') })
  const { app, settings } = await build(t, `--file ${cwd}/flags.json --trust 10.0.0.0/8`, { FLAGS_ADMIN_TOKEN: 'x' })
  t.equal(report(settings, 'http://127.0.0.1:8080', app.flags).replace(cwd, '/here').replace(/\d+\.\d+\.\d+(?= listens)/, '0.0.0'), `\
fastify-flags 0.0.0 listens on http://127.0.0.1:8080
  store        /here/flags.json
  environment  production
  flags        8
  identity     callers say who asks; X-User-Id, X-User-Groups and X-Region, which go before that, count from 10.0.0.0/8 (--trust)
  evaluation   open to whoever can reach it; FLAGS_EVALUATION_TOKENS=name=secret closes it
  OFREP        http://127.0.0.1:8080, for OpenFeature's providers
  pages        those of other sites may not ask; --cors https://shop.example opens it to them
  admin        off; FLAGS_ADMIN_TOKENS=name=secret opens it (or --dev, to try it)
  operations   http://127.0.0.1:8080/docs, /readyz and /metrics
  logs         none (--log-level)
  warning      the variable FLAGS_ADMIN_TOKEN does nothing; did you mean FLAGS_ADMIN_TOKENS?
Ask:     curl 'http://127.0.0.1:8080/flags/beta_features/evaluate?user=alice'`)

  const closed = await build(t, `--file ${cwd}/flags.json --environment prodution --log-level fatal --cors https://a.example,https://b.example --public-url https://flags.example/v1 --snapshot-file ${cwd}/left.json`, {
    FLAGS_ADMIN_TOKENS: `alice=${secret('a')}`, FLAGS_EVALUATION_TOKENS: `qa@staging=${secret('q')}`, FLAGS_BROWSER_TOKENS: `web=${secret('w')}`
  })
  const told = report(closed.settings, 'http://127.0.0.1:8080', closed.app.flags).replaceAll(cwd, '/here')
  for (const line of [
    'snapshot     /here/left.json, to start from when the store does not answer',
    'evaluation   for the tokens of qa (staging only), web',
    'OFREP        https://flags.example/v1, for OpenFeature\'s providers',
    'pages        those of https://a.example, https://b.example may ask (--cors)',
    'admin        http://127.0.0.1:8080/admin, for the tokens of alice',
    'operations   http://127.0.0.1:8080/docs, /readyz and /metrics, the last for tokens too',
    'logs         JSON lines on stdout, fatal and above (--log-level)',
    'warning      no flag knows the environment prodution; known are production, staging',
    'evaluate?user=alice\' -H "Authorization: Bearer $TOKEN"',
    'Or:      FLAGS_TOKEN=… fastify-flags list --url http://127.0.0.1:8080'
  ]) t.match(told, line)
  t.notMatch(told, secret('a'))
})

t.test('a request that is no HTTP path, or too long, is answered in our own words', async (t) => {
  const { app } = await build(t, '--memory')
  t.match(await ask(app, '/flags/%ZZ/evaluate'), { status: 400, code: 'FST_FLAGS_INVALID_REQUEST' })
  t.match(await ask(app, `/flags/${'x'.repeat(101)}/evaluate`), { status: 400, code: 'FST_FLAGS_INVALID_REQUEST' })
})

t.test('a body that never ends is cut off', async (t) => {
  const { app } = await build(t, '--memory')
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  let answer = ''
  socket.on('data', (data) => { answer += data })
  socket.write('POST /flags/x/evaluate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"context":')
  await once(socket, 'close')
  t.match(answer, /^HTTP\/1.1 408 /)
})

t.test('Redis that comes later is served by itself, and when it goes what was known is, as stale', async (t) => {
  const { url: redis, namespace } = await startRedis(t)
  const { hostname, port: redisPort } = new URL(redis)
  const sockets = new Set<Socket>()
  const proxy = createServer((socket) => {
    const upstream = connect(Number(redisPort), hostname)
    for (const [from, to] of [[socket, upstream], [upstream, socket]] as const) {
      sockets.add(from)
      from.on('error', () => {}).on('close', () => to.destroy()).pipe(to)
    }
  })
  await once(proxy.listen(0, '127.0.0.1'), 'listening')
  const { port } = proxy.address() as AddressInfo
  proxy.close()
  await once(proxy, 'close')

  const { app } = await build(t, `--redis redis://127.0.0.1:${port} --namespace ${namespace}`)
  t.match(await ask(app, '/readyz'), { status: 'NOT_READY' })
  await once(proxy.listen(port, '127.0.0.1'), 'listening')
  const becomes = async (status: string) => {
    let answer = await ask(app, '/readyz')
    for (; answer.status !== status; answer = await ask(app, '/readyz')) await setTimeout(50)
    return answer
  }
  await becomes('READY')
  await app.flags.admin.put('on-off', { enabled: true })

  proxy.close()
  for (const socket of sockets) socket.destroy()
  const stale = await becomes('STALE')
  t.ok(stale.staleSeconds >= 4, `${stale.staleSeconds} s`)
  t.match(stale, { problem: 'FST_FLAGS_STORE_UNAVAILABLE', revision: 1 })
  t.equal((await app.inject('/readyz')).statusCode, 200)
  t.match(await ask(app, '/flags/on-off/evaluate'), { status: 200, enabled: true })
})
