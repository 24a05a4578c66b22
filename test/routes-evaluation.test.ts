import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setTimeout } from 'node:timers/promises'
import Fastify, { type FastifyInstance, type FastifyServerOptions, type InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import flags, { evaluationRoutes, Memory, MemoryStore, type EvaluationOptions, type EvaluationSecret, type Flag, type FlagsOptions } from '../src/index.js'

interface Setup { plugin?: FlagsOptions, routes?: EvaluationOptions, server?: FastifyServerOptions }

const documents: Record<string, Flag> = {
  'on-off': { enabled: true, public: true },
  'for-alice': { enabled: true, serve: 'off', public: true, targets: [{ users: ['alice'] }, { groups: ['beta', 'free,employees'] }, { regions: ['eu'] }] },
  paying: { enabled: true, serve: 'off', public: true, rules: [{ name: 'grown up', when: { all: [{ attribute: 'plan', operator: 'in', value: ['pro'] }, { attribute: 'age', operator: 'gte', value: 18 }] }, serve: 'on' }] },
  layout: { enabled: true, variants: { control: { columns: 1 }, compact: { columns: 3 } }, offVariant: 'control', serve: 'compact' },
  staged: { environments: { staging: { enabled: true } } }
}

async function build (t: Test, { plugin = {}, routes = {}, server = {} }: Setup = {}): Promise<FastifyInstance> {
  const app = Fastify(server)
  t.teardown(() => app.close())
  await app.register(flags, { store: 'memory', ...plugin })
  await app.register(evaluationRoutes, routes)
  for (const [key, document] of Object.entries(documents)) await app.flags.admin.put(key, document, { by: 'test' })
  return app
}

async function ask (app: FastifyInstance, url: string, options: InjectOptions = {}) {
  const response = await app.inject({ url, ...options })
  return { status: response.statusCode, headers: response.headers, ...response.json() }
}

const post = (context: unknown, more: object = {}): InjectOptions => ({ method: 'POST', payload: { context, ...more } as object })
const caller: Setup = { routes: { identity: 'caller' } }

t.test('an answer says what is served, why, where and from which version, and no cache may share it', async (t) => {
  const app = await build(t, caller)
  const response = await app.inject('/flags/on-off/evaluate')
  t.equal(response.statusCode, 200)
  t.equal(response.headers['cache-control'], 'private, no-cache')
  t.equal(response.headers['content-type'], 'application/json; charset=utf-8')
  t.strictSame(response.json(), { key: 'on-off', enabled: true, value: true, variant: 'on', reason: 'STATIC', cause: 'default', environment: 'production', version: 1 })
  t.match(await ask(app, '/flags/layout/evaluate'), { enabled: true, value: { columns: 3 }, variant: 'compact' })
  t.match(await ask(app, '/flags/paying/evaluate?plan=pro&age=18'), { enabled: true, reason: 'TARGETING_MATCH', cause: 'rule', rule: 'grown up' })
  t.match(await ask(app, '/flags/paying/evaluate?plan=pro&age=9'), { enabled: false, cause: 'default' })
})

t.test('all flags come in one list, by key', async (t) => {
  const app = await build(t, caller)
  const { flags } = await ask(app, '/flags?user=alice')
  t.strictSame(flags.map(({ key }: { key: string }) => key), ['for-alice', 'layout', 'on-off', 'paying', 'staged'])
  t.match(flags[0], { key: 'for-alice', enabled: true, cause: 'target-user' })
})

t.test('the context means the same in the query and in a body', async (t) => {
  const app = await build(t, caller)
  const cases: Array<[string, object, string]> = [
    ['user=alice', { user: 'alice' }, 'target-user'],
    ['targetingKey=alice', { targetingKey: 'alice' }, 'target-user'],
    ['user=alice&targetingKey=alice', { user: 'alice', targetingKey: 'alice' }, 'target-user'],
    ['groups=a,,%20beta%20,a', { groups: ['a', 'beta'] }, 'target-group'],
    ['groups=x&groups=beta', { groups: ['x', 'beta'] }, 'target-group'],
    ['region=eu', { region: 'eu' }, 'target-region'],
    ['user=&groups=,&region=', { user: '', groups: [], region: null }, 'default'],
    ['', {}, 'default']
  ]
  for (const [query, context, cause] of cases) {
    t.match(await ask(app, `/flags/for-alice/evaluate?${query}`), { status: 200, cause }, `?${query}`)
    t.match(await ask(app, '/flags/for-alice/evaluate', post(context)), { status: 200, cause }, JSON.stringify(context))
    t.match(await ask(app, '/flags/for-alice/evaluate', { method: 'POST', payload: context }), { status: 200, cause }, `flat: ${JSON.stringify(context)}`)
  }
  t.match(await ask(app, '/flags/for-alice/evaluate', { method: 'POST' }), { status: 200, cause: 'default' }, 'without a body nothing is said')
})

t.test('a group whose name has a comma is written percent-encoded, once more inside a query', async (t) => {
  const app = await build(t, caller)
  t.match(await ask(app, '/flags/for-alice/evaluate?groups=free%252Cemployees'), { cause: 'target-group' })
  t.match(await ask(app, '/flags/for-alice/evaluate?groups=free%2Cemployees'), { cause: 'default' })
  t.match(await ask(app, '/flags/for-alice/evaluate', post({ groups: ['free,employees'] })), { cause: 'target-group' })
})

t.test('names and escapes that are nobody\'s idea of an attribute do no harm', async (t) => {
  const app = await build(t, caller)
  for (const query of ['__proto__=x&constructor=y&toString=z', 'a%ZZ=%E0%A4&b=%', '&&=&=x&a', '__proto__[plan]=pro', 'plan=pro&plan=free', '?', 'a=1&'.repeat(2000)]) {
    t.match(await ask(app, `/flags/on-off/evaluate?${query}`), { status: 200, enabled: true }, query.slice(0, 40))
    t.match(await ask(app, `/flags/paying/evaluate?age=20&${query}`), { status: 200 })
  }
  t.match(await ask(app, '/flags/paying/evaluate', post({ constructor: { name: 'x' }, toString: 1 })), { status: 200, enabled: false })
  const payload = '{"context":{"__proto__":{"plan":"pro","age":20}}}'
  t.match(await ask(app, '/flags/paying/evaluate', { method: 'POST', payload, headers: { 'content-type': 'application/json' } }), { status: 400, code: 'FST_FLAGS_INVALID_JSON' })
  t.equal(({} as { plan?: string }).plan, undefined)
})

t.test('a parameter that stands twice is a list, of which one match is enough', async (t) => {
  const app = await build(t, caller)
  t.match(await ask(app, '/flags/paying/evaluate?age=20&plan=free&plan=pro&plan=x'), { enabled: true })
})

t.test('what cannot be meant is refused with a sentence that says what to send', async (t) => {
  const app = await build(t, caller)
  const cases: Array<[string, string]> = [
    ['user=a&targetingKey=b', 'they differ'],
    ['user=a&user=b', 'user stands twice'],
    ['region=a&region=b', 'region stands twice'],
    ['environment=a&environment=b', 'environment stands twice'],
    ['environment=a/b', 'There can be no environment "a/b"'],
    ['environment=__proto__', 'There can be no environment'],
    [`user=${'x'.repeat(1001)}`, 'longer than 1,000']
  ]
  for (const [query, message] of cases) {
    for (const path of ['/flags/on-off/evaluate', '/flags']) {
      t.match(await ask(app, `${path}?${query}`), { status: 400, code: 'FST_FLAGS_INVALID_REQUEST', error: 'Bad Request', message }, query.slice(0, 40))
    }
  }
})

t.test('a body is refused with every field at fault', async (t) => {
  const app = await build(t, caller)
  const at = async (payload: unknown) => {
    const { status, details } = await ask(app, '/flags/on-off/evaluate', { method: 'POST', payload: JSON.stringify(payload), headers: { 'content-type': 'application/json' } })
    t.equal(status, 400)
    return details.map(({ path }: { path: string }) => path)
  }
  t.strictSame(await at({ context: {}, user: 'alice', 'a/b~': 1 }), ['/user', '/a~1b~0'])
  t.strictSame(await at({ contxt: { user: 'alice' } }), ['/contxt'], 'a slip of the pen is no attribute')
  t.strictSame(await at({ user: 7 }), ['/user'], 'the context by itself')
  t.strictSame(await at({ context: { user: 7, targetingKey: true, groups: 'beta', region: ['eu'] }, environment: 'a b' }), ['/environment', '/context/user', '/context/targetingKey', '/context/region', '/context/groups'])
  t.strictSame(await at({ context: [] }), ['/context'])
  t.strictSame(await at({ context: { groups: [1] } }), ['/context/groups'])
  t.strictSame(await at([]), [''])
  t.strictSame(await at(null), [''])
})

t.test('bodies that are not JSON, too large, too deep or of another type are answered in our own words', async (t) => {
  const app = await build(t, caller)
  const send = (payload: string, type = 'application/json') => ask(app, '/flags/on-off/evaluate', { method: 'POST', payload, headers: { 'content-type': type } })
  t.match(await send('{"context":'), { status: 400, code: 'FST_FLAGS_INVALID_JSON' })
  t.match(await send('{"context":{"a":1,"a":2}}'), { status: 400, code: 'FST_FLAGS_INVALID_JSON', details: [{ path: '/context/a' }] })
  t.match(await send(`{"context":{"a":${'['.repeat(5000)}${']'.repeat(5000)}}}`), { status: 400, code: 'FST_FLAGS_INVALID_JSON' })
  t.match(await send(`{"context":{"a":"${'x'.repeat(65 * 1024)}"}}`), { status: 413, code: 'FST_FLAGS_BODY_TOO_LARGE' })
  t.match(await send('a=b', 'application/x-www-form-urlencoded'), { status: 415, code: 'FST_FLAGS_UNSUPPORTED_MEDIA_TYPE' })
})

t.test('a flag nobody knows is 404, whatever its key looks like', async (t) => {
  const app = await build(t, caller)
  for (const key of ['nope', '__proto__', 'constructor', 'a:b', 'x'.repeat(100), '%F0%9F%9A%80', 'a%2Fb']) {
    t.match(await ask(app, `/flags/${key}/evaluate`), { status: 404, code: 'FST_FLAGS_FLAG_NOT_FOUND' }, key)
    t.match(await ask(app, `/flags/${key}/evaluate`, post({})), { status: 404, code: 'FST_FLAGS_FLAG_NOT_FOUND' }, key)
  }
  t.match(await ask(app, `/flags/${'x'.repeat(101)}/evaluate`), { status: 400, code: 'FST_FLAGS_INVALID_REQUEST' })
})

t.test('another environment can be asked for', async (t) => {
  const app = await build(t, caller)
  t.match(await ask(app, '/flags/staged/evaluate'), { enabled: false, cause: 'environment-missing', environment: 'production' })
  t.match(await ask(app, '/flags/staged/evaluate?environment=staging'), { enabled: true, environment: 'staging' })
  t.match(await ask(app, '/flags/staged/evaluate', post({}, { environment: 'staging' })), { enabled: true, environment: 'staging' })
  t.match(await ask(app, '/flags/staged/evaluate?environment=nope'), { status: 200, enabled: false, cause: 'environment-missing' })
})

t.test('identity from trusted headers stays, whatever query and body say, and they may add attributes', async (t) => {
  const app = await build(t, { ...caller, plugin: { headers: { plan: 'x-plan' } } })
  const headers = { 'x-user-id': 'bob', 'x-plan': 'free' }
  const said = { user: 'alice', groups: ['beta'], region: 'eu', plan: 'pro', age: 20 }
  for (const [url, options] of [['?user=alice&groups=beta&region=eu&plan=pro&age=20', {}], ['', post(said)]] as const) {
    t.match(await ask(app, `/flags/for-alice/evaluate${url}`, { ...options, headers }), { status: 200, cause: 'default' })
    t.match(await ask(app, `/flags/paying/evaluate${url}`, { ...options, headers }), { enabled: false })
    t.match(await ask(app, `/flags/paying/evaluate${url}`, { ...options, headers: { 'x-user-id': 'bob' } }), { enabled: true, rule: 'grown up' })
    t.match(await ask(app, `/flags/paying/evaluate${url}`, { ...options, headers: { 'x-plan': 'free' } }), { enabled: false }, 'an attribute of a header stays too')
  }
  t.match(await ask(app, '/flags/for-alice/evaluate?groups=beta', { headers: { 'x-region': 'us' } }), { cause: 'default' }, 'a header\'s identity is whole: nobody adds a group to it')
})

t.test('identity from context(request) stays as well', async (t) => {
  const app = await build(t, { ...caller, plugin: { context: (request) => request.headers.session === undefined ? undefined : ({ targetingKey: 'bob', age: 3 }) } })
  t.match(await ask(app, '/flags/for-alice/evaluate?user=alice', { headers: { session: '1' } }), { cause: 'default' })
  t.match(await ask(app, '/flags/paying/evaluate?plan=pro&age=20', { headers: { session: '1' } }), { enabled: false })
  t.match(await ask(app, '/flags/for-alice/evaluate?user=alice'), { cause: 'target-user' })
})

t.test('in a host app a caller\'s word for who asks needs a token, and the answer says so', async (t) => {
  const app = await build(t)
  for (const query of ['user=alice', 'targetingKey=alice', 'groups=beta', 'region=eu']) {
    t.match(await ask(app, `/flags/for-alice/evaluate?${query}`), { status: 403, code: 'FST_FLAGS_FORBIDDEN', message: 'evaluation.tokens' }, query)
  }
  t.match(await ask(app, '/flags/for-alice/evaluate', post({ user: 'alice' })), { status: 403 })
  t.match(await ask(app, '/flags/for-alice/evaluate?user='), { status: 200 })
  t.match(await ask(app, '/flags/paying/evaluate?plan=pro&age=20'), { enabled: true }, 'attributes need none')
  t.match(await ask(app, '/flags/for-alice/evaluate', { headers: { 'x-user-id': 'alice' } }), { cause: 'target-user' })
})

const server = 'server-secret-of-32-characters-xx'
const browser = 'browser-secret-of-32-characters-x'
const bearer = (secret: string) => ({ headers: { authorization: `Bearer ${secret}` } })

t.test('with tokens nobody is answered without one, and a server\'s says who asks', async (t) => {
  const app = await build(t, { routes: { tokens: { shop: server } } })
  for (const options of [{}, bearer('wrong-secret-of-32-characters-xxx'), { headers: { authorization: `Basic ${server}` } }]) {
    for (const url of ['/flags', '/flags/on-off/evaluate', '/flags/nope/evaluate']) t.match(await ask(app, url, options), { status: 401, code: 'FST_FLAGS_UNAUTHORIZED' }, url)
    t.match(await ask(app, '/flags/on-off/evaluate', { ...post({}), ...options }), { status: 401 })
  }
  t.match(await ask(app, '/flags/for-alice/evaluate?user=alice', bearer(server)), { cause: 'target-user' })
})

t.test('a browser token sees public flags only, and not why', async (t) => {
  const app = await build(t, { routes: { tokens: { shop: server }, browserTokens: { web: browser }, identity: 'caller' } })
  t.strictSame((await app.inject({ url: '/flags/paying/evaluate?plan=pro&age=20', ...bearer(browser) })).json(), { key: 'paying', enabled: true, value: true, variant: 'on', reason: 'TARGETING_MATCH', environment: 'production', version: 3 })
  t.match(await ask(app, '/flags/layout/evaluate', bearer(browser)), { status: 404, message: 'There is no flag "layout"' })
  t.match(await ask(app, '/flags/nope/evaluate', bearer(browser)), { status: 404, message: 'There is no flag "nope"' })
  const { flags } = await ask(app, '/flags', bearer(browser))
  t.strictSame(flags.map(({ key }: { key: string }) => key), ['for-alice', 'on-off', 'paying'])
  t.match(await ask(app, '/flags/layout/evaluate', bearer(server)), { status: 200, cause: 'default' })
  t.match(await ask(await build(t, { routes: { browserTokens: { web: browser } } }), '/flags/for-alice/evaluate?user=alice', bearer(browser)), { status: 403 }, 'it stands in everybody\'s browser, so it vouches for nobody')
})

t.test('a token limited to an environment is answered for that one, and for no other', async (t) => {
  const limited = 'limited-secret-of-32-characters-x'
  const app = await build(t, { routes: { tokens: { shop: [server, { secret: limited, environment: 'staging' }] }, browserTokens: { web: { secret: browser, environment: 'staging' } } } })
  t.match(await ask(app, '/flags/staged/evaluate', bearer(limited)), { enabled: true, environment: 'staging' }, 'also where none is asked for')
  t.match(await ask(app, '/flags/staged/evaluate?user=alice', bearer(limited)), { enabled: true, environment: 'staging' })
  t.match(await ask(app, '/flags/staged/evaluate?environment=staging', bearer(limited)), { enabled: true, environment: 'staging' })
  t.match((await ask(app, '/flags', bearer(limited))).flags, [{ environment: 'staging' }])
  t.match((await ask(app, '/flags', bearer(browser))).flags, [{ environment: 'staging' }])
  for (const secret of [limited, browser]) {
    for (const environment of ['production', 'nope']) {
      for (const url of [`/flags/on-off/evaluate?environment=${environment}`, `/flags/nope/evaluate?environment=${environment}`, `/flags?environment=${environment}`]) {
        t.match(await ask(app, url, bearer(secret)), { status: 403, code: 'FST_FLAGS_FORBIDDEN', message: 'for the environment staging alone' }, url)
      }
      t.match(await ask(app, '/flags/on-off/evaluate', { ...post({}, { environment }), ...bearer(secret) }), { status: 403 })
    }
  }
  t.match(await ask(app, '/flags/staged/evaluate?environment=production', bearer(server)), { status: 200, enabled: false })
})

t.test('routes stand under their prefix, and nothing of a hostile host touches them', async (t) => {
  const app = await build(t, {
    routes: { prefix: '/feature', identity: 'caller' },
    server: { ajv: { customOptions: { coerceTypes: 'array', removeAdditional: 'all' } }, routerOptions: { querystringParser: () => ({ user: { hostile: true } }) } }
  })
  app.setErrorHandler((error, request, reply) => reply.code(418).send({ hostile: error }))
  t.match(await ask(app, '/feature/flags/for-alice/evaluate?user=alice'), { cause: 'target-user' })
  t.match(await ask(app, '/feature/flags/for-alice/evaluate', post({ groups: 'beta' })), { status: 400, code: 'FST_FLAGS_INVALID_REQUEST' })
  t.match(await ask(app, '/feature/flags/nope/evaluate'), { status: 404, code: 'FST_FLAGS_FLAG_NOT_FOUND' })
  t.match(await ask(app, '/feature/nope'), { status: 404, code: 'FST_FLAGS_ROUTE_NOT_FOUND' })
})

t.test('the query stands in no log', async (t) => {
  const lines: string[] = []
  const app = await build(t, { ...caller, server: { logger: { level: 'trace', stream: { write: (line: string) => { lines.push(line) } } } } })
  for (const url of ['/flags/on-off/evaluate?user=alice-in-wonderland', '/flags?user=alice-in-wonderland', '/flags/nope/evaluate?user=alice-in-wonderland', '/flags/on-off/evaluate?user=x&user=alice-in-wonderland']) await app.inject(url)
  t.ok(lines.some((line) => line.includes('/flags/on-off/evaluate')))
  t.notMatch(lines.join(''), 'wonderland')
})

t.test('before any flags are loaded the answer is 503, and once they are it is theirs', async (t) => {
  const memory = new Memory()
  const store = new MemoryStore(memory)
  const { read } = store
  store.read = async () => { throw new Error('not yet') }
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(flags, { store })
  await app.register(evaluationRoutes, {})
  for (const url of ['/flags', '/flags/on-off/evaluate']) {
    const response = await app.inject(url)
    t.match({ status: response.statusCode, ...response.json() }, { status: 503, code: 'FST_FLAGS_NOT_READY' })
  }
  store.read = read
  while (app.flags.status === 'NOT_READY') await setTimeout(20)
  t.match(await ask(app, '/flags'), { status: 200, flags: [] })
})

t.test('wrong options are told at the start', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await t.rejects(async () => await app.register(evaluationRoutes, {}), { code: 'FST_FLAGS_INVALID_OPTION', message: /needs fastify-flags in the same scope/ })
  await t.rejects(build(t, { routes: { identity: 'Caller' as 'caller' } }), { code: 'FST_FLAGS_INVALID_OPTION', message: /can only be "caller"/ })
  await t.rejects(build(t, { routes: { tokens: { shop: 'short' } } }), { code: 'FST_FLAGS_INVALID_OPTION', message: /evaluation\.tokens\["shop"\]/ })
  for (const [token, message] of [
    [{ secret: server, environment: 'a b' }, /evaluation\.tokens\["shop"\]\.environment must be the name/],
    [{ secret: server, environment: undefined }, /environment must be the name/],
    [{ secret: server, environments: ['staging'] }, /evaluation\.tokens\["shop"\] holds environments/],
    [{ environment: 'staging' }, /must be a secret/]
  ] as const) await t.rejects(build(t, { routes: { tokens: { shop: token as EvaluationSecret } } }), { code: 'FST_FLAGS_INVALID_OPTION', message })
})

t.test('each answer is told to whoever listens for evaluations, with the context it was for', async (t) => {
  const app = await build(t, caller)
  const heard: unknown[] = []
  const listener = (message: unknown) => { heard.push(message) }
  subscribe('fastify-flags:evaluation', listener)
  t.teardown(() => unsubscribe('fastify-flags:evaluation', listener))
  await ask(app, '/flags/for-alice/evaluate?user=alice&environment=staging')
  t.match(heard, [{ key: 'for-alice', environment: 'staging', variant: 'on', context: { targetingKey: 'alice' } }])
})
