import { Agent, METHODS, request as send, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t, { type Test } from 'tap'
import flags, { type FlagsOptions } from '../../src/index.js'
import { countAttempts } from '../../src/routes/attempts.js'
import { readTokens } from '../../src/routes/tokens.js'
import { buildSidecar } from '../../src/sidecar/app.js'
import { readSettings } from '../../src/sidecar/settings.js'
import Fastify, { type InjectOptions } from 'fastify'
import { alice, bob, startAdmin, viewer } from '../helpers/admin.js'

interface Answer { status: number, headers: IncomingHttpHeaders, body: string }

/** Sends what is given as it is, over a real connection. */
function asker (t: Test, app: FastifyInstance) {
  const agent = new Agent({ keepAlive: true, maxSockets: 20 })
  t.teardown(() => agent.destroy())
  const { port } = app.server.address() as AddressInfo
  return async (method: string, path: string, { headers = {}, body, from }: { headers?: Record<string, string>, body?: string, from?: string } = {}) => await new Promise<Answer>((resolve, reject) => {
    const length: Record<string, string> = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
    const asking = send({ agent: from === undefined ? agent : false, host: '127.0.0.1', port, method, path, headers: { ...length, ...headers }, localAddress: from }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (chunk) => { body += chunk }).on('end', () => resolve({ status: response.statusCode!, headers: response.headers, body })).on('error', reject)
    })
    asking.on('error', reject).end(body)
  })
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

/** The ways to write a path that might slip by a check which is not where the route is. */
function disguises (path: string): string[] {
  return [
    path, `${path}/`, path.replace('/admin', '//admin'), path.replace('/admin/', '/admin//'), path.replace('/admin', '/%61dmin'), path.toUpperCase(),
    path.replace('/admin/', '/admin/./'), path.replace('/admin/', '/admin/%2e/'), path.replace('/admin/', '/x/../admin/'), path.replace('/admin/', '/admin/%2e%2e/admin/'), path.replace('/admin/', '/healthz/%2e%2e%2fadmin/'),
    `${path}?token=${alice}`, `${path}?access_token=${alice}&_method=DELETE`, `${path};x=1`, `${path}%00`, `${path}%2f`, `${path}.json`, `http://127.0.0.1${path}`
  ]
}

const disguisedHeaders = { 'x-http-method-override': 'DELETE', 'x-method-override': 'PUT', 'x-original-url': '/healthz', 'x-rewrite-url': '/healthz', 'x-forwarded-for': '127.0.0.1', cookie: `authorization=Bearer ${alice}`, 'x-api-key': alice, 'proxy-authorization': `Bearer ${alice}`, upgrade: 'websocket', connection: 'upgrade' }
const types = ['application/json', 'APPLICATION/JSON; charset=utf-16', 'application/merge-patch+json', 'text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'a/b/c', '']

for (const [name, routerOptions] of [['as Fastify does', {}], ['as leniently as Fastify can', { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true, caseSensitive: false }]] as const) {
  t.test(`row 16: no admin route, method, path or type is open without a token, and a read token writes nothing, where the host routes ${name}`, async (t) => {
    const routes = new Set<string>()
    const { app } = await startAdmin(t, { server: { routerOptions }, prepare: (app) => app.addHook('onRoute', ({ url }) => { routes.add(url) }) })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const ask = asker(t, app)
    await app.flags.admin.put('one', { enabled: true, environments: { production: { enabled: true } } })
    await app.flags.admin.putSegment('one', { when: { attribute: 'plan', operator: 'eq', value: 'pro' } })
    const { revision } = app.flags
    const paths = [...routes].filter((url) => url.startsWith('/admin/')).map((url) => url.replace(':key', 'one').replace(':environment', 'production').replace('*', 'one/two'))
    t.ok(paths.length >= 15, `${paths.length} routes`)

    const body = '{"enabled":false,"add":{"users":["mallory"]},"when":{"attribute":"a","operator":"exists"}}'
    const accepted: string[] = []
    const written: string[] = []
    let asked = 0
    const judge = async (method: string, path: string, headers: Record<string, string>, token: string | undefined) => {
      asked++
      const withBody = !['GET', 'HEAD', 'TRACE'].includes(method)
      const { status, headers: { allow } } = await ask(method, path, { headers: { ...headers, ...token !== undefined && bearer(token) }, body: withBody ? body : undefined })
      if (method === 'OPTIONS' && status === 204 && allow !== undefined) return // which methods there are is no secret
      if (token === undefined ? status < 400 : status < 400 && !['GET', 'HEAD'].includes(method) && !/\/explain\b/i.test(path)) accepted.push(`${method} ${path} ${status}`)
      if (app.flags.revision !== revision) written.push(`${method} ${path}`)
    }
    for (const path of paths) {
      const plain = await ask('GET', path)
      t.ok([401, 404, 405].includes(plain.status), `GET ${path} ${plain.status}`)
      for (const token of [undefined, viewer]) {
        await Promise.all(METHODS.filter((method) => method !== 'CONNECT').map((method) => judge(method, path, { 'content-type': 'application/json', 'if-match': '*' }, token)))
        const further = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'].flatMap((method) => [
          ...disguises(path).map((path) => judge(method, path, { 'content-type': 'application/json', 'if-match': '*' }, token)),
          judge(method, path, { 'content-type': 'application/json', 'if-match': '*', ...disguisedHeaders }, token)
        ])
        await Promise.all([...further, ...['POST', 'PUT', 'PATCH', 'DELETE'].flatMap((method) => types.map((type) => judge(method, path, { 'content-type': type, 'if-match': '*' }, token)))])
      }
    }
    t.comment(`${asked} requests to ${paths.length} routes`)
    t.same(accepted, [])
    t.same(written, [])
    t.match(await ask('PATCH', '/admin/flags/one', { headers: { ...bearer(alice), 'content-type': 'application/json' }, body: '{"description":"x"}' }), { status: 200 }, 'while who may write can')
    t.equal((await ask('PATCH', '/admin/flags/one', { headers: { ...bearer(viewer), 'content-type': 'application/json' }, body: '{"description":"y"}' })).status, 403)
  })
}

t.test('row 16: no app starts with admin routes that are open', async (t) => {
  for (const admin of [{}, { tokens: {} }, { tokens: {}, readTokens: {} }, { tokens: { alice: '' } }, { tokens: { alice: undefined } }, { tokens: { alice: 'short' } }, { authorize: true }]) {
    const app = Fastify()
    t.teardown(() => app.close())
    await t.rejects(async () => await app.register(flags, { store: 'memory', admin: admin as FlagsOptions['admin'] }), { code: 'FST_FLAGS_INVALID_OPTION' }, JSON.stringify(admin))
  }
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(flags, { store: 'memory', admin: { tokens: { alice: [] } } })
  t.equal((await app.inject({ url: '/admin/flags', headers: { authorization: 'Bearer ' } })).statusCode, 401, 'a list without secrets lets nobody in')
  t.equal((await app.inject({ url: '/admin/flags', headers: { authorization: 'Bearer undefined' } })).statusCode, 401)
})

t.test('row 16: who tries many tokens is heard only now and then, and locks nobody else out', async (t) => {
  const { app } = await startAdmin(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const ask = asker(t, app)
  const list = async (token: string | undefined, from: string) => await ask('GET', '/admin/flags', { from, headers: token === undefined ? {} : bearer(token) })
  const [mallory, elsewhere] = ['127.0.0.66', '127.0.0.1']
  t.equal((await list(bob, mallory)).status, 200, 'a neighbour of hers, behind the same proxy')
  for (let i = 0; i < 20; i++) t.equal((await list(`guess-${i}-0123456789`, mallory)).status, 401)
  const refused = await list('guess-20-0123456789', mallory)
  t.equal(refused.status, 429)
  t.match(JSON.parse(refused.body), { statusCode: 429, code: 'FST_FLAGS_TOO_MANY_ATTEMPTS', error: 'Too Many Requests' })
  t.ok(Number(refused.headers['retry-after']) >= 1 && Number(refused.headers['retry-after']) <= 6)
  t.equal((await list(alice, mallory)).status, 429, 'a right guess is not told from a wrong one')
  t.equal((await list(bob, mallory)).status, 200, 'the neighbour works on')
  t.equal((await list(alice, elsewhere)).status, 200)
  t.equal((await list('guess-21-0123456789', elsewhere)).status, 401)
  t.equal((await list(undefined, mallory)).status, 401, 'who sends none is told to')
})

t.test('row 16: an address has 20 tries for all routes of an app together, event streams included', async (t) => {
  const settings = readSettings(['--memory', '--log-level', 'silent'], { FLAGS_EVALUATION_TOKENS: `shop=${bob}`, FLAGS_ADMIN_TOKENS: `alice=${alice}`, FLAGS_READ_TOKENS: `board=${viewer}` })
  const ways: Array<(token: string) => InjectOptions> = [
    (token) => ({ url: '/flags', headers: bearer(token) }),
    (token) => ({ url: '/admin/flags', headers: bearer(token) }),
    (token) => ({ url: '/metrics', headers: bearer(token) }),
    (token) => ({ method: 'POST', url: '/ofrep/v1/evaluate/flags', headers: { 'x-api-key': token }, payload: { context: {} } }),
    (token) => ({ url: `/ofrep/v1/events?token=${token}` })
  ]
  const build = async () => {
    const app = await buildSidecar(settings)
    t.teardown(() => app.close())
    return async (way: typeof ways[number], token: string) => (await app.inject(way(token))).statusCode
  }
  const ask = await build()
  t.equal(await ask(ways[0]!, bob), 200)
  for (let i = 0; i < 20; i++) t.equal(await ask(ways[i % ways.length]!, `guess-${i}-0123456789`), 401)
  for (const way of ways) t.equal(await ask(way, 'guess-20-0123456789'), 429)
  for (const [way, right] of [[ways[1]!, alice], [ways[2]!, viewer]] as const) t.equal(await ask(way, right), 429)
  for (const way of [ways[0]!, ways[2]!, ways[3]!]) t.equal(await ask(way, bob), 200, 'who was let in before is let in still, on all routes')
  t.equal(await (await build())(ways[1]!, alice), 200, 'another app counts for itself')
})

t.test('row 16: failures are forgiven one in six seconds, and a million addresses fill no memory', async (t) => {
  let now = 0
  const attempts = countAttempts(() => now)
  const reply = { header: () => reply } as unknown as FastifyReply
  const from = (remoteAddress: string) => ({ raw: { socket: { remoteAddress } }, log: { warn () {} } }) as unknown as FastifyRequest
  const refused = { code: 'FST_FLAGS_TOO_MANY_ATTEMPTS' }
  for (let i = 0; i < 20; i++) attempts.fail(from('::ffff:10.0.0.1'), reply)
  t.throws(() => attempts.fail(from('10.0.0.1'), reply), refused, 'one address, however it is written')
  now += 5900
  t.throws(() => attempts.fail(from('10.0.0.1'), reply), refused)
  now += 200
  t.doesNotThrow(() => attempts.fail(from('10.0.0.1'), reply))
  t.throws(() => attempts.fail(from('10.0.0.1'), reply), refused)
  now += 6000
  const [holder] = readTokens({ write: { alice } }, { write: 'tokens' }).bearers
  t.doesNotThrow(() => attempts.admit(from('10.0.0.1'), reply, holder!))
  for (let i = 0; i < 20; i++) attempts.fail(from(`2001:db8::${i}`), reply)
  t.throws(() => attempts.fail(from('2001:db8:0:0:ffff::1'), reply), refused, 'a network of IPv6 is one')
  t.doesNotThrow(() => attempts.fail(from('2001:db8:0:1::1'), reply))

  const before = kept()
  for (let i = 0; i < 1_000_000; i++) {
    attempts.fail(from(`10.${i >> 16}.${i >> 8 & 255}.${i & 255}`), reply)
    attempts.admit(from(`11.${i >> 16}.${i >> 8 & 255}.${i & 255}`), reply, holder!)
  }
  const grown = (kept() - before) / 1024 / 1024
  t.ok(grown < 16, `${grown.toFixed(1)} MB more are kept`)
})

/** Bytes of the heap that are no garbage. */
function kept (): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  return process.memoryUsage().heapUsed
}
