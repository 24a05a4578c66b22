import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import Fastify, { LogController, type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { Snapshot } from '../src/evaluation/snapshot.js'
import { EvaluationCounts } from '../src/routes/metrics/evaluation-counts.js'
import { makeRequestLog } from '../src/sidecar/request-log.js'
import { logTrouble, requestId } from '../src/sidecar/requests.js'
import { buildSidecar } from '../src/sidecar/app.js'
import { readSettings } from '../src/sidecar/settings.js'
import { logs } from './helpers/logs.js'
import { until } from './helpers/until.js'

const secret = (name: string) => `${name}-secret-of-32-characters-xxxxx`
const bearer = (name: string) => ({ authorization: `Bearer ${secret(name)}` })

async function build (t: Test, line = '--memory', env: Record<string, string> = {}): Promise<FastifyInstance> {
  const app = await buildSidecar(readSettings(`--log-level silent ${line}`.split(' '), env))
  t.teardown(() => app.close())
  return app
}

/** The samples of `/metrics`, by name and labels. */
async function metrics (app: FastifyInstance, headers = {}): Promise<Map<string, number>> {
  const { body } = await app.inject({ url: '/metrics', headers })
  const samples = body.split('\n').filter((line) => line !== '' && !line.startsWith('#')).map((line): [string, number] => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))])
  t.equal(new Set(samples.map(([name]) => name)).size, samples.length, 'no sample stands twice')
  return new Map(samples)
}

const evaluations = async (app: FastifyInstance) => Object.fromEntries([...await metrics(app)].filter(([name]) => name.startsWith('fastify_flags_evaluations_total')).map(([name, value]) => [name.slice('fastify_flags_evaluations_total'.length), value]))

t.test('single evaluations are counted by flag, variant and reason: each server\'s own, and none for lists', async (t) => {
  const [app, other] = [await build(t), await build(t)]
  for (const one of [app, other]) {
    await one.flags.admin.put('plain', { enabled: true })
    await one.flags.admin.put('named', { enabled: true, variants: ['a', 'b'], serve: 'a', targets: [{ variant: 'b', users: ['alice'] }] })
  }
  const ask = async (key: string, user = '') => await app.inject(`/flags/${key}/evaluate?user=${user}`)
  for (const key of ['plain', 'plain', 'named', 'made-up', 'made-up-too']) await ask(key)
  await ask('named', 'alice')
  await app.inject({ method: 'POST', url: '/flags/plain/evaluate', payload: { context: {} } })
  await app.inject('/flags')
  await app.inject('/flags?user=alice')
  t.same(await evaluations(app), {
    '{flag="plain",variant="on",reason="STATIC"}': 3,
    '{flag="named",variant="a",reason="DEFAULT"}': 1,
    '{flag="named",variant="b",reason="TARGETING_MATCH"}': 1
  })
  t.same(await evaluations(other), {})
})

t.test('counts outlive a change of their flag, and go with the flag or the variant', async (t) => {
  const app = await build(t)
  const { admin } = app.flags
  const count = async (key: string) => { await app.inject(`/flags/${key}/evaluate`) }
  await admin.put('named', { enabled: true, variants: ['a', 'b', 'c'], serve: 'a' })
  await count('named')
  await admin.patch('named', { description: 'changed' })
  await count('named')
  t.same(await evaluations(app), { '{flag="named",variant="a",reason="STATIC"}': 2 })
  await admin.patch('named', { serve: 'b' })
  await count('named')
  await admin.patch('named', { variants: ['b', 'c'], offVariant: 'b' })
  t.same(await evaluations(app), { '{flag="named",variant="b",reason="STATIC"}': 1 })
  await admin.delete('named')
  t.same(await evaluations(app), {})
  await admin.put('named', { enabled: true })
  await count('named')
  t.same(await evaluations(app), { '{flag="named",variant="on",reason="STATIC"}': 1 })
})

t.test('however many flags are asked for, there are 2,000 series at most and none is lost from the sum', async (t) => {
  const counts = new EvaluationCounts()
  const ask = (i: number) => counts.count(`flag-${i}`, { enabled: true, details: { value: true, variant: 'on', reason: 'STATIC', flagMetadata: {} } })
  for (let i = 0; i < 2100; i++) ask(i)
  const samples = () => counts.text().split('\n').filter((line) => line.startsWith('fastify_flags_evaluations_total'))
  t.equal(samples().length, 2001)
  t.equal(samples().at(-1), 'fastify_flags_evaluations_total{flag="_other",variant="_other",reason="STATIC"} 100')
  counts.settle(['flag-0', 'flag-1'], Snapshot.empty())
  for (let i = 2000; i < 2100; i++) ask(i)
  t.equal(samples().length, 2001, 'what goes makes room')
  t.equal(samples().at(-1), 'fastify_flags_evaluations_total{flag="_other",variant="_other",reason="STATIC"} 198')
})

t.test('metrics tell revision, age, flags, status, problems, requests by pattern, and the process', async (t) => {
  const app = await build(t)
  await app.flags.admin.put('plain', { enabled: true })
  for (const url of ['/flags/plain/evaluate', '/flags/none/evaluate', '/nothing/of/the/kind', '/nothing/else']) await app.inject(url)
  const samples = await metrics(app)
  t.equal(samples.get('fastify_flags_revision'), 1)
  t.equal(samples.get('fastify_flags_flags'), 1)
  t.ok(samples.get('fastify_flags_age_seconds')! < 20)
  t.same(['NOT_READY', 'READY', 'STALE'].map((status) => samples.get(`fastify_flags_status{status="${status}"}`)), [0, 1, 0])
  const requests = (labels: string) => samples.get(`http_request_duration_seconds_count{${labels}}`)
  t.equal(requests('method="GET",route="/flags/:key/evaluate",status_code="200"'), 1)
  t.equal(requests('method="GET",route="/flags/:key/evaluate",status_code="404"'), 1)
  t.equal(requests('method="GET",route="",status_code="404"'), 2)
  t.equal(samples.get('http_request_duration_seconds_bucket{method="GET",route="",status_code="404",le="+Inf"}'), 2)
  t.ok(samples.get('process_cpu_seconds_total')! > 0 && samples.get('process_resident_memory_bytes')! > 0)
})

t.test('open event streams are counted, and are no slow requests', async (t) => {
  const app = await build(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  socket.write('GET /ofrep/v1/events HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(socket, 'data')
  t.equal((await metrics(app)).get('fastify_flags_event_streams'), 1)
  socket.destroy()
  for (let left = 1; left > 0;) left = (await metrics(app)).get('fastify_flags_event_streams')!
  t.notOk([...(await metrics(app)).keys()].some((name) => name.includes('/ofrep/v1/events')))
})

t.test('with the store away metrics say so', async (t) => {
  const app = await build(t, '--redis redis://127.0.0.1:1')
  await until(() => app.flags.problem !== null)
  const samples = await metrics(app)
  t.equal(samples.get('fastify_flags_problems_total{code="FST_FLAGS_STORE_UNAVAILABLE"}'), 1)
  t.equal(samples.get('fastify_flags_status{status="NOT_READY"}'), 1)
  t.notOk(samples.has('fastify_flags_age_seconds'))
})

t.test('metrics are open where evaluation is; where it is not, to read, admin and evaluation tokens, not to browsers\'', async (t) => {
  t.equal((await (await build(t)).inject('/metrics')).statusCode, 200)
  const app = await build(t, '--memory', { FLAGS_ADMIN_TOKENS: `alice=${secret('a')}`, FLAGS_READ_TOKENS: `prometheus=${secret('r')}`, FLAGS_EVALUATION_TOKENS: `shop=${secret('s')},qa@staging=${secret('q')}`, FLAGS_BROWSER_TOKENS: `web=${secret('w')}` })
  for (const name of ['a', 'r', 's']) t.equal((await app.inject({ url: '/metrics', headers: bearer(name) })).statusCode, 200, name)
  t.match((await app.inject({ url: '/metrics', headers: bearer('q') })).json(), { statusCode: 403, code: 'FST_FLAGS_FORBIDDEN', message: 'The token of qa is for the environment staging alone, and metrics tell of all environments; use a read token' })
  for (const headers of [{}, bearer('w'), bearer('x')]) t.match((await app.inject({ url: '/metrics', headers })).json(), { statusCode: 401, code: 'FST_FLAGS_UNAUTHORIZED' })
})

t.test('every answer says it is data, and names its request; none names the server', async (t) => {
  const app = await build(t, '--memory', { FLAGS_ADMIN_TOKENS: `alice=${secret('a')}` })
  await app.flags.admin.put('plain', { enabled: true })
  for (const url of ['/healthz', '/readyz', '/metrics', '/openapi.json', '/docs', '/docs/static/index.css', '/flags', '/flags/plain/evaluate', '/flags/none/evaluate', '/flags/%ZZ/evaluate', '/admin/flags', '/nothing']) {
    const { headers } = await app.inject({ url, headers: { 'x-request-id': 'order-66_a.b' } })
    t.match(headers, { 'x-content-type-options': 'nosniff', 'content-security-policy': /^default-src 'none';.*frame-ancestors 'none'/, 'x-request-id': 'order-66_a.b', 'cache-control': url.startsWith('/docs/static') ? 'public, max-age=0' : url.endsWith('plain/evaluate') || url === '/flags' ? 'private, no-cache' : 'no-store' }, url)
    t.notOk('server' in headers || 'x-powered-by' in headers, url)
  }
  const own = async (sent: string) => (await app.inject({ url: '/healthz', headers: { 'x-request-id': sent } })).headers['x-request-id']
  t.not(await own(''), await own(''))
  for (const odd of ['a b', 'x'.repeat(65), 'alice@example.org', '{}']) t.match(await own(odd), /^[0-9a-f]{8}-[0-9a-z]+$/, odd)
})

t.test('/docs shows the document, and its page loads nothing from elsewhere', async (t) => {
  const app = await build(t)
  const { body, headers } = await app.inject('/docs')
  t.match(headers, { 'content-type': /^text\/html/, 'x-frame-options': 'DENY', 'referrer-policy': 'no-referrer' })
  for (const [, url] of body.matchAll(/(?:src|href)="([^"]+)"/g)) t.equal((await app.inject(String(url))).statusCode, 200, String(url))
  t.notMatch(body, /<script>|style=|https?:/)
  t.same((await app.inject('/docs/json')).json(), (await app.inject('/openapi.json')).json())
  t.match((await app.inject('/docs/static/none.js')).json(), { statusCode: 404, code: 'FST_FLAGS_ROUTE_NOT_FOUND' })
})

t.test('what has no route is refused unread, and another method is told which there are', async (t) => {
  const app = await build(t)
  for (const method of ['GET', 'POST', 'PUT', 'OPTIONS', 'DELETE'] as const) {
    t.match((await app.inject({ method, url: '/nothing?user=alice', headers: { 'content-type': 'application/x' }, payload: method === 'GET' ? undefined : '{bad' })).json(), { statusCode: 404, code: 'FST_FLAGS_ROUTE_NOT_FOUND', message: `There is no route ${method} /nothing` }, method)
  }
  const wrong = await app.inject({ method: 'DELETE', url: '/flags/x/evaluate' })
  t.match(wrong.json(), { statusCode: 405, code: 'FST_FLAGS_METHOD_NOT_ALLOWED', message: 'This path takes no DELETE, but GET, HEAD, POST' })
  t.equal(wrong.headers.allow, 'GET, HEAD, POST')
  const options = await app.inject({ method: 'OPTIONS', url: '/readyz' })
  t.match([options.statusCode, options.headers.allow, options.body], [204, 'GET, HEAD', ''])
  const [head, get] = [await app.inject({ method: 'HEAD', url: '/readyz' }), await app.inject('/readyz')]
  t.match([head.statusCode, head.body, head.headers['content-length']], [200, '', String(get.body.length)])
})

t.test('what is too large is refused: headers, the URL with them, a body', async (t) => {
  const app = await build(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const send = async (text: string) => {
    const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
    let answer = ''
    socket.on('data', (data) => { answer += String(data) }).on('error', () => {})
    socket.write(text)
    await once(socket, 'close')
    return answer
  }
  for (const text of [`GET /flags?user=${'x'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, `GET /flags HTTP/1.1\r\nHost: x\r\nX-User-Id: ${'x'.repeat(20_000)}\r\n\r\n`]) {
    const answer = await send(text)
    t.match(answer, /^HTTP\/1.1 431 /)
    t.match(answer, /x-content-type-options: nosniff\r\n/)
  }
  t.match(await send('POST /flags/x/evaluate HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 70000\r\n\r\n'), /^HTTP\/1.1 413 [^]*FST_FLAGS_BODY_TOO_LARGE/)
})

t.test('a request that failed here is logged with its id and the pattern of its route, others are not, and an outage does not fill the log', async (t) => {
  const { stream, lines } = logs()
  const app = Fastify({ logger: { stream }, logController: new LogController({ disableRequestLogging: true }), genReqId: requestId, childLoggerFactory: makeRequestLog })
  t.teardown(() => app.close())
  logTrouble(app)
  let statusCode = 200
  app.get('/flags/:key', (request, reply) => reply.code(statusCode).send({}))
  const ask = async (id: string) => await app.inject({ url: '/flags/of-alice?user=alice', headers: { 'x-request-id': id, authorization: 'Bearer secret' } })
  await ask('first')
  statusCode = 404
  await ask('second')
  t.same(lines(), [])
  statusCode = 503
  const begun = performance.now()
  for (const id of ['third', 'fourth', 'fifth']) await ask(id)
  t.match(lines(), [{ level: 40, reqId: 'third', method: 'GET', route: '/flags/:key', statusCode: 503, responseTime: Number, msg: 'a request failed' }])
  t.ok(lines().length <= 1 + (performance.now() - begun) / 1000, 'one in a second')
  t.notMatch(JSON.stringify(lines()), /alice|secret/)
})
