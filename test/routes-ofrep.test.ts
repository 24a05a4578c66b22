import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type FastifyServerOptions, type InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import flags, { Memory, MemoryStore, ofrepRoutes, type Flag, type FlagsOptions, type OfrepOptions } from '../src/index.js'
import { faultOfAnswer } from './helpers/ofrep-schema.js'
import { write } from './helpers/memory.js'

interface Setup { plugin?: FlagsOptions, routes?: OfrepOptions, server?: FastifyServerOptions }

const documents: Record<string, Flag> = {
  'on-off': { enabled: true, public: true, metadata: { ticket: 'PAY-12', cost: 3 } },
  'for-alice': { enabled: true, serve: 'off', public: true, targets: [{ users: ['alice'] }, { groups: ['beta'] }, { regions: ['eu'] }] },
  paying: { enabled: true, serve: 'off', public: true, rules: [{ name: 'secret rule', when: { attribute: 'plan', operator: 'in', value: ['pro'] }, serve: 'on' }] },
  layout: { enabled: true, variants: { control: { columns: 1 }, compact: { columns: 3 } }, offVariant: 'control', serve: 'compact' },
  words: { variants: ['a', 'b'], environments: { production: { enabled: false, serve: 'a' }, staging: { enabled: true, serve: 'b' } } },
  half: { enabled: true, serve: { percentage: 50 } }
}

async function build (t: Test, { plugin = {}, routes = { identity: 'caller' }, server = {} }: Setup = {}): Promise<FastifyInstance> {
  const app = Fastify(server)
  t.teardown(() => app.close())
  await app.register(flags, { store: 'memory', ...plugin })
  await app.register(ofrepRoutes, routes)
  for (const [key, document] of Object.entries(documents)) await app.flags.admin.put(key, document, { by: 'test' })
  return app
}

const single = (key: string) => `/ofrep/v1/evaluate/flags/${key}`
const bulk = '/ofrep/v1/evaluate/flags'

/** Every answer is held to the protocol's schema. */
async function post (t: Test, app: FastifyInstance, url: string, context: unknown = {}, options: InjectOptions = {}) {
  const response = await app.inject({ method: 'POST', url, payload: { context } as object, ...options })
  const { statusCode: status, headers, payload } = response
  t.equal(faultOfAnswer(url, status, headers['content-type'] as string, payload), undefined, `${url} is as the protocol says`)
  return { status, headers, payload, ...(payload === '' ? {} : response.json()) }
}

t.test('one flag is answered with its value, variant, reason and metadata', async (t) => {
  const app = await build(t)
  const { headers, ...answer } = await post(t, app, single('on-off'), { targetingKey: 'u1' })
  t.match(headers, { 'cache-control': 'private, no-cache', 'content-type': 'application/json; charset=utf-8' })
  t.strictSame(JSON.parse(answer.payload), { key: 'on-off', value: true, reason: 'STATIC', variant: 'on', metadata: { ticket: 'PAY-12', cost: 3, cause: 'default', environment: 'production', version: 1 } })
  t.match(await post(t, app, single('paying'), { plan: 'pro' }), { value: true, reason: 'TARGETING_MATCH', metadata: { cause: 'rule', rule: 'secret rule' } })
  t.match(await post(t, app, single('for-alice'), { groups: 'beta' }), { value: true, metadata: { cause: 'target-group' } }, 'one group may stand alone')
  t.match(await post(t, app, single('for-alice'), { region: 'eu' }), { value: true, metadata: { cause: 'target-region' } })
  t.match(await post(t, app, single('layout')), { value: { columns: 3 }, variant: 'compact' })
  t.match(await post(t, app, single('words')), { value: 'a', reason: 'DISABLED', metadata: { cause: 'environment-disabled' } })
})

t.test('nobody needs a targeting key: a draw without one serves off', async (t) => {
  const app = await build(t)
  for (const context of [{}, null, { targetingKey: null }, { targetingKey: '' }]) t.match(await post(t, app, single('half'), context), { status: 200, value: false, reason: 'DEFAULT', metadata: { cause: 'no-bucketing-key' } })
})

t.test('an attribute may have any name and any value', async (t) => {
  const app = await build(t)
  const payload = '{"context":{"targetingKey":"alice","user":{"name":"Alice"},"environment":"staging","plan":"pro","__proto__":{"x":1},"constructor":7,"toString":null,"deep":[[[{"a":null}]]]},"later":"something new"}'
  const options = { payload, headers: { 'content-type': 'application/json; charset=utf-8' } }
  t.match(await post(t, app, single('for-alice'), {}, options), { status: 200, value: true, metadata: { cause: 'target-user', environment: 'production' } })
  t.match(await post(t, app, single('paying'), {}, options), { value: true })
  t.equal((await post(t, app, bulk, {}, options)).flags.length, 6)
})

t.test('what cannot be answered is said in the protocol\'s words, whoever refuses', async (t) => {
  const app = await build(t)
  const json = { 'content-type': 'application/json' }
  const cases: Array<[InjectOptions, number, string]> = [
    [{ payload: '{"context":', headers: json }, 400, 'PARSE_ERROR'],
    [{ payload: '', headers: json }, 400, 'PARSE_ERROR'],
    [{ payload: undefined }, 400, 'PARSE_ERROR'],
    [{ payload: Buffer.from([0x7b, 0xff, 0x7d]), headers: json }, 400, 'PARSE_ERROR'],
    [{ payload: '{}', headers: { 'content-type': 'text/plain' } }, 400, 'PARSE_ERROR'],
    [{ payload: '{"context":{}}', headers: { ...json, 'content-encoding': 'gzip' } }, 400, 'PARSE_ERROR'],
    [{ payload: 'null', headers: json }, 400, 'INVALID_CONTEXT'],
    [{ payload: '{}', headers: json }, 400, 'INVALID_CONTEXT'],
    [{ payload: '{"targetingKey":"u1"}', headers: json }, 400, 'INVALID_CONTEXT'],
    [{ payload: '[]', headers: json }, 400, 'INVALID_CONTEXT'],
    [{ payload: '{"context":"u1"}', headers: json }, 400, 'INVALID_CONTEXT'],
    [{ payload: '{"context":{"targetingKey":7}}', headers: json }, 400, 'INVALID_CONTEXT'],
    [{ payload: '{"context":{"groups":[7]}}', headers: json }, 400, 'INVALID_CONTEXT'],
    [{ payload: '{"context":{"region":{}}}', headers: json }, 400, 'INVALID_CONTEXT'],
    [{ payload: JSON.stringify({ context: { x: 'x'.repeat(70_000) } }), headers: json }, 400, 'GENERAL']
  ]
  for (const [options, status, errorCode] of cases) {
    t.match(await post(t, app, single('on-off'), {}, options), { status, key: 'on-off', errorCode, errorDetails: /\w{3,}/ }, JSON.stringify(options).slice(0, 100))
    const all = await post(t, app, bulk, {}, options)
    t.match(all, { status, errorCode })
    t.notOk('key' in all)
  }
  for (const key of ['unknown', 'a%2Fb', 'a%20b', 'x'.repeat(300), 'a/b']) t.match(await post(t, app, single(key)), { status: 404, errorCode: 'FLAG_NOT_FOUND', key: decodeURIComponent(key) })
  t.match((await app.inject({ method: 'POST', url: '/ofrep/v1/configuration?user=alice' })).json(), { errorCode: 'GENERAL', errorDetails: /configuration$/ })
})

t.test('another method is told which there is, unread, in the protocol\'s words', async (t) => {
  const [plain, forPages, withoutStreams] = [await build(t), await build(t, { routes: { cors: true } }), await build(t, { routes: { maxStreams: 0 } })]
  const ask = async (app: FastifyInstance, method: 'GET' | 'HEAD' | 'PUT' | 'OPTIONS', url: string) => {
    const { statusCode, headers, body } = await app.inject({ method, url, ...method === 'PUT' && { headers: { 'content-type': 'application/json' }, payload: '{bad' } })
    return [statusCode, headers.allow, body]
  }
  const refused = (method: string, allow: string) => [405, allow, JSON.stringify({ errorCode: 'GENERAL', errorDetails: `This path takes no ${method}, but ${allow}` })]
  for (const url of [single('on-off'), single('unknown'), bulk]) {
    t.same(await ask(plain, 'GET', url), refused('GET', 'POST'))
    t.same(await ask(plain, 'PUT', url), refused('PUT', 'POST'))
    t.same(await ask(plain, 'OPTIONS', url), [204, 'POST', ''])
    t.same(await ask(forPages, 'GET', url), refused('GET', 'OPTIONS, POST'))
  }
  t.same(await ask(plain, 'PUT', '/ofrep/v1/events'), refused('PUT', 'GET'))
  t.match(await ask(plain, 'HEAD', '/ofrep/v1/events'), [405, 'GET'])
  t.match(await ask(withoutStreams, 'PUT', '/ofrep/v1/events'), [404, undefined])
  t.match(await ask(plain, 'OPTIONS', '/ofrep/v1/configuration'), [404, undefined])
})

t.test('a flag that cannot be evaluated, a host\'s refusal and what nobody foresaw are errors that clients understand', async (t) => {
  const memory = new Memory()
  write(memory, 'broken', '{"enabled":true,"variants":{"a":1},"offVariant":"a","serve":"gone"}')
  const app = Fastify()
  t.teardown(() => app.close())
  app.addHook('onRequest', async (request, reply) => {
    if (request.headers['x-limited'] !== undefined) throw Object.assign(new Error('slow down'), { statusCode: 429 })
    if (request.headers['x-broken'] !== undefined) throw new Error('secret detail')
    if (request.headers['x-teapot'] !== undefined) throw Object.assign(new Error('short and stout'), { statusCode: 418 })
  })
  await app.register(flags, { store: new MemoryStore(memory) })
  await app.register(ofrepRoutes, { identity: 'caller', prefix: '/api' })
  t.match(await post(t, app, `/api${single('broken')}`), { status: 500, key: 'broken', errorCode: 'GENERAL', errorDetails: /no variant gone/ })
  t.match(await post(t, app, `/api${bulk}`), { status: 200, flags: [{ key: 'broken', errorCode: 'GENERAL' }] })
  t.match(await post(t, app, `/api${single('x')}`, {}, { headers: { 'x-limited': '1' } }), { status: 429, key: 'x', errorCode: 'GENERAL', errorDetails: 'slow down' })
  t.match(await post(t, app, `/api${single('x')}`, {}, { headers: { 'x-teapot': '1' } }), { status: 400, errorCode: 'GENERAL' })
  const broken = await post(t, app, `/api${bulk}`, {}, { headers: { 'x-broken': '1' } })
  t.match(broken, { status: 500, errorCode: 'GENERAL' })
  t.notMatch(broken.payload, /secret detail/)
})

t.test('before anything is loaded clients are asked to come again', async (t) => {
  const store = new MemoryStore()
  store.read = async () => { throw new Error('no route to host') }
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(flags, { store })
  await app.register(ofrepRoutes, { identity: 'caller' })
  for (const url of [single('on-off'), bulk]) t.match(await post(t, app, url), { status: 503, headers: { 'retry-after': '1' }, errorCode: 'PROVIDER_NOT_READY' })
})

t.test('all flags come by key, each as if asked for alone', async (t) => {
  const app = await build(t)
  const context = { targetingKey: 'alice', plan: 'pro' }
  const { flags, eventStreams } = await post(t, app, bulk, context)
  t.same(flags.map(({ key }: { key: string }) => key), Object.keys(documents).sort())
  for (const flag of flags) t.same(JSON.parse((await post(t, app, single(flag.key), context)).payload), flag)
  t.match(eventStreams, [{ type: 'sse', endpoint: { requestUri: /^\/ofrep\/v1\/events\?since=6-[\w-]{16}$/ }, inactivityDelaySec: 120 }])
})

t.test('single evaluations are told on the diagnostics channel, bulk ones are not', async (t) => {
  const app = await build(t)
  const told: string[] = []
  const listen = (message: unknown) => { told.push((message as { key: string }).key) }
  subscribe('fastify-flags:evaluation', listen)
  t.teardown(() => { unsubscribe('fastify-flags:evaluation', listen) })
  await post(t, app, single('on-off'))
  await post(t, app, bulk)
  await post(t, app, single('unknown'))
  t.same(told, ['on-off'])
})

const context = fc.dictionary(fc.oneof(fc.constantFrom('plan', 'country', 'targetingKey'), fc.string({ maxLength: 5 })), fc.oneof(fc.string(), fc.jsonValue({ maxDepth: 2 })), { maxKeys: 6 })
  .map(({ targetingKey, groups, region, ...others }) => ({ ...others, targetingKey: JSON.stringify(targetingKey ?? null) })) // an object may have a `toString` that is none

t.test('the ETag stands for the answer: whatever the order of the context, and for no other', async (t) => {
  const app = await build(t)
  const etag = async (context: object) => {
    const { headers, statusCode } = await app.inject({ method: 'POST', url: bulk, payload: { context } })
    return statusCode === 200 ? headers.etag : `${statusCode}`
  }
  t.match(await etag({}), /^"[\w-]{22}"$/)
  await fc.assert(fc.asyncProperty(context, context, async (one, other) => {
    const reversed = Object.fromEntries(Object.entries(one).reverse())
    if (await etag(one) !== await etag(reversed)) return false
    const same = JSON.stringify(sort(JSON.parse(JSON.stringify(one)))) === JSON.stringify(sort(JSON.parse(JSON.stringify(other))))
    return (await etag(one) === await etag(other)) === same
  }), { numRuns: 100 })

  const before = await etag({ targetingKey: 'u1' })
  await app.flags.admin.put('other', { enabled: false }, { by: 'test' })
  t.not(await etag({ targetingKey: 'u1' }), before)
})

function sort (value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(sort)
  return { fields: Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([name, part]) => [name, sort(part)]) }
}

t.test('If-None-Match is understood alone, weak, in a list and as *', async (t) => {
  const app = await build(t)
  const { headers: { etag } } = await post(t, app, bulk, { targetingKey: 'u1' })
  const ask = async (header: string, targetingKey = 'u1') => (await post(t, app, bulk, { targetingKey }, { headers: { 'if-none-match': header } })).status
  for (const header of [etag, `W/${etag}`, `"x", ${etag}`, `"x",W/${etag},"y"`, '*', ' * ']) t.equal(await ask(header as string), 304, header as string)
  for (const header of ['"x"', String(etag).slice(1, -1), '', 'W/"x", "y"', `"${String(etag).slice(2)}`]) t.equal(await ask(header), 200, header)
  t.equal(await ask(etag as string, 'u2'), 200)
  const { headers } = await post(t, app, bulk, { targetingKey: 'u1' }, { headers: { 'if-none-match': etag as string } })
  t.match(headers, { etag, 'cache-control': 'private, no-cache' })
})

t.test('processes that serve the same have the same ETag, others have not', async (t) => {
  const memory = new Memory()
  const [one, other] = await Promise.all([0, 1].map(async () => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(flags, { store: new MemoryStore(memory), environment: 'production' })
    await app.register(ofrepRoutes, { identity: 'caller' })
    return app
  }))
  await one!.flags.admin.put('a', { enabled: true })
  await other!.flags.sync()
  const etags = async () => await Promise.all([one, other].map(async (app) => (await app!.inject({ method: 'POST', url: bulk, payload: { context: {} } })).headers.etag))
  const [first, second] = await etags()
  t.equal(first, second)
  const stranger = await build(t)
  t.not((await post(t, stranger, bulk)).headers.etag, first)
})

t.test('who was told of a change by one process is not answered by another with what was before it', async (t) => {
  const memory = new Memory()
  const store = new MemoryStore(memory)
  store.watch = () => {} // it is woken by nothing
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(flags, { store, staleAfter: 60_000 })
  await app.register(ofrepRoutes, { identity: 'caller' })
  const { revision } = app.flags
  write(memory, 'new', '{"enabled":true}')
  if (app.flags.revision === revision) t.same((await post(t, app, `${bulk}?flagConfigEtag=1-x&flagConfigLastModified=1`)).flags.length, 1)
  t.equal((await post(t, app, `${bulk}?flagConfigEtag=99-x`)).status, 200, 'nor waits for ever for what does not come')
})

t.test('a stage that begins by the clock changes the ETag', async (t) => {
  const app = await build(t)
  const at = app.flags.for().now + 1500
  await app.flags.admin.put('staged', { enabled: true, serve: { stages: [{ percentage: 0 }, { percentage: 100, at: new Date(at).toISOString() }] } })
  const ask = async () => {
    const { headers, flags } = await post(t, app, bulk, { targetingKey: 'u1' })
    return { etag: headers.etag, value: flags.find(({ key }: { key: string }) => key === 'staged').value, now: app.flags.for().now }
  }
  const before = await ask()
  if (before.now < at) t.equal(before.value, false)
  while (app.flags.for().now < at) await sleep(50)
  const after = await ask()
  t.equal(after.value, true)
  if (before.now < at) t.not(after.etag, before.etag)
  t.equal((await ask()).etag, after.etag)
})

const secret = (name: string) => `${name}-secret-of-32-characters-xxxxx`
const bearer = (name: string) => ({ headers: { authorization: `Bearer ${secret(name)}` } })

t.test('tokens decide who may ask, and what is shown', async (t) => {
  const app = await build(t, { routes: { tokens: { shop: secret('shop'), qa: { secret: secret('qa'), environment: 'staging' } }, browserTokens: { web: secret('web') } } })
  t.match(await post(t, app, single('on-off')), { status: 401, key: 'on-off', errorCode: 'GENERAL', headers: { 'www-authenticate': /^Bearer/ } })
  t.match(await post(t, app, single('on-off'), {}, bearer('shop')), { status: 200 })
  t.match(await post(t, app, single('on-off'), {}, { headers: { 'x-api-key': secret('shop') } }), { status: 200 }, 'the protocol\'s other way to send it')
  t.match(await post(t, app, single('words'), { targetingKey: 'u1' }, bearer('qa')), { value: 'b', metadata: { environment: 'staging' } })
  t.match(await post(t, app, single('layout'), {}, bearer('web')), { status: 404, errorCode: 'FLAG_NOT_FOUND' })
  const shown = await post(t, app, single('paying'), { plan: 'pro' }, bearer('web'))
  t.strictSame(JSON.parse(shown.payload), { key: 'paying', value: true, reason: 'TARGETING_MATCH', variant: 'on', metadata: { environment: 'production', version: 3 } })
  t.match(await post(t, app, single('paying'), { targetingKey: 'u1' }, bearer('web')), { status: 403, errorCode: 'GENERAL' }, 'who asks is not a browser\'s to say, unless identity is "caller"')
  const lists = await Promise.all(['shop', 'qa', 'web'].map(async (name) => await post(t, app, bulk, {}, bearer(name))))
  t.same(lists.map(({ flags }) => flags.length), [6, 6, 3])
  t.notMatch(lists[2]!.payload, /cause|secret rule/)
  t.equal(new Set(lists.map(({ headers }) => headers.etag)).size, 3)
  for (let i = 0; i < 25; i++) await app.inject({ method: 'POST', url: bulk, payload: { context: {} }, headers: { authorization: `Bearer guess-${i}` } })
  t.match(await post(t, app, bulk, {}, { headers: { authorization: 'Bearer guess' } }), { status: 429, headers: { 'retry-after': /^\d+$/ }, errorCode: 'GENERAL' })
})

t.test('in a host app who asks comes from its own headers, and not from the body', async (t) => {
  const app = await build(t, { routes: {} })
  t.match(await post(t, app, single('for-alice'), {}, { headers: { 'x-user-id': 'alice' } }), { value: true, metadata: { cause: 'target-user' } })
  t.match(await post(t, app, single('for-alice'), { targetingKey: 'alice' }), { status: 403, key: 'for-alice', errorCode: 'GENERAL' })
  t.match(await post(t, app, single('for-alice'), { targetingKey: 'alice' }, { headers: { 'x-user-id': 'bob' } }), { value: false })
  const etag = async (user: string) => (await post(t, app, bulk, {}, { headers: { 'x-user-id': user } })).headers.etag
  t.not(await etag('alice'), await etag('bob'))
})

t.test('pages of the origins named may ask, and preflight needs no token', async (t) => {
  const app = await build(t, { routes: { tokens: { shop: secret('shop') }, cors: ['https://shop.example'] } })
  const origin = 'https://shop.example'
  const preflight = await app.inject({ method: 'OPTIONS', url: single('on-off'), headers: { origin, 'access-control-request-method': 'POST' } })
  t.match(preflight, { statusCode: 204, headers: { 'access-control-allow-origin': origin, vary: 'Origin', 'access-control-allow-methods': /POST/, 'access-control-allow-headers': /content-type.*if-none-match.*authorization.*x-api-key/ } })
  const answer = await post(t, app, bulk, {}, { headers: { ...bearer('shop').headers, origin } })
  t.match(answer.headers, { 'access-control-allow-origin': origin, 'access-control-expose-headers': 'ETag, Retry-After' })
  t.match((await post(t, app, bulk, {}, { headers: { origin } })).headers, { 'access-control-allow-origin': origin }, 'an error can be read too')
  t.notMatch((await post(t, app, bulk, {}, { headers: { ...bearer('shop').headers, origin: 'https://evil.example' } })).headers, { 'access-control-allow-origin': /./ })
  const open = await build(t, { routes: { identity: 'caller', cors: true } })
  t.match((await post(t, open, bulk, {}, { headers: { origin } })).headers, { 'access-control-allow-origin': '*' })
  for (const cors of ['https://a.example', [], ['https://a.example/'], ['a.example'], [7]]) await t.rejects(build(t, { routes: { cors: cors as string[] } }), { code: 'FST_FLAGS_INVALID_OPTION', message: /cors/ })
})

t.test('a preflight request is answered by the CORS of a host at whichever hook that stands', async (t) => {
  for (const hook of ['onRequest', 'preHandler'] as const) {
    const app = Fastify()
    t.teardown(() => app.close())
    app.addHook(hook, async ({ method }: FastifyRequest, reply: FastifyReply) => {
      reply.header('access-control-allow-origin', '*')
      return method === 'OPTIONS' ? await reply.code(204).send() : undefined
    })
    await app.register(flags, { store: 'memory', evaluation: { identity: 'caller' } })
    const { statusCode, headers } = await app.inject({ method: 'OPTIONS', url: bulk, headers: { origin: 'https://shop.example', 'access-control-request-method': 'POST' } })
    t.match([statusCode, headers['access-control-allow-origin']], [204, '*'], hook)
  }
})

t.test('the option evaluation registers these routes beside the plain ones, under one prefix', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(flags, { store: 'memory', evaluation: { prefix: '/feature', identity: 'caller', publicUrl: 'https://example.com/app/', cors: true } })
  await app.flags.admin.put('a', { enabled: true })
  t.match((await app.inject('/feature/flags/a/evaluate')).json(), { value: true })
  const { eventStreams } = await post(t, app, `/feature${bulk}`)
  t.match(eventStreams, [{ endpoint: { origin: 'https://example.com', requestUri: /^\/app\/feature\/ofrep\/v1\/events\?/ } }])
  t.match(await post(t, app, `/feature${single('nope')}`), { status: 404, errorCode: 'FLAG_NOT_FOUND' })
  for (const publicUrl of ['example.com', '/flags', 'ftp://x', 'https://x/?a=1']) await t.rejects(Promise.resolve(Fastify().register(flags, { store: 'memory', evaluation: { publicUrl } })), { message: /publicUrl/ })
})
