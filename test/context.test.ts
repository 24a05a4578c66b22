import { connect } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import flags, { type FlagsOptions } from '../src/index.js'
import { logs } from './helpers/logs.js'

async function build (t: Test, options: FlagsOptions = {}): Promise<{ app: FastifyInstance, lines: ReturnType<typeof logs>['lines'] }> {
  const { stream, lines } = logs()
  const app = Fastify({ logger: { stream } })
  t.teardown(() => app.close())
  await app.register(flags, { store: 'memory', ...options })
  app.get('/', async (req) => req.flags.context)
  return { app, lines }
}

/** Sends bytes as they are, which no HTTP client does, and returns the JSON body of the answer. */
async function send (t: Test, app: FastifyInstance, ...headers: Array<string | Buffer>): Promise<unknown> {
  if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
  const address = app.server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening on a port')
  const socket = connect(address.port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  const lines = headers.map((line) => Buffer.concat([Buffer.from(line), Buffer.from('\r\n')]))
  socket.write(Buffer.concat([Buffer.from('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n'), ...lines, Buffer.from('\r\n')]))
  let answer = ''
  for await (const chunk of socket.setEncoding('utf8')) answer += chunk
  return JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')))
}

t.test('the three headers are the targeting key, the groups and the region', async (t) => {
  const { app } = await build(t)
  const headers = { 'x-user-id': 'alice', 'x-user-groups': 'beta,employees', 'x-region': 'eu' }
  t.same((await app.inject({ url: '/', headers })).json(), { targetingKey: 'alice', groups: ['beta', 'employees'], region: 'eu' })
})

t.test('what is not sent, empty or blank is not there', async (t) => {
  const { app } = await build(t)
  t.same((await app.inject('/')).json(), {})
  t.same((await app.inject({ url: '/', headers: { 'x-user-id': '', 'x-user-groups': ' , ,', 'x-region': '%20' } })).json(), {})
})

t.test('a list is split first, then each item decoded, trimmed and de-duplicated', async (t) => {
  const { app } = await build(t)
  const groups = async (text: string) => (await app.inject({ url: '/', headers: { 'x-user-groups': text } })).json().groups
  t.same(await groups('a,,b, a'), ['a', 'b'])
  t.same(await groups('free%2Cemployees'), ['free,employees'])
  t.same(await groups('a,%20a%20,b%20c'), ['a', 'b c'])
  t.same(await groups('caf%C3%A9'), ['café'])
  t.same(await groups('100%,a%zz,%E0%A4'), ['100%', 'a%zz', '%E0%A4'])
})

t.test('user and region are decoded as list items are', async (t) => {
  const { app } = await build(t)
  t.same((await app.inject({ url: '/', headers: { 'x-user-id': ' a%2Cb ', 'x-region': '%zz' } })).json(), { targetingKey: 'a,b', region: '%zz' })
})

t.test('bytes are read as UTF-8, and left as latin1 when they are not', async (t) => {
  const { app } = await build(t)
  t.same(await send(t, app, 'X-User-Id: josé', 'X-User-Groups: ärzte, 東京'), { targetingKey: 'josé', groups: ['ärzte', '東京'] })
  t.same(await send(t, app, Buffer.from('X-User-Id: jos\xe9', 'latin1')), { targetingKey: 'josé' })
})

t.test('a repeated identity header is ignored and said once, one with a comma is not repeated', async (t) => {
  const { app, lines } = await build(t, { headers: { agent: 'user-agent' } })
  t.same(await send(t, app, 'X-User-Id: alice', 'x-user-id: admin', 'X-Region: eu', 'User-Agent: a'), { region: 'eu', agent: 'a' })
  t.same(await send(t, app, 'X-User-Groups: a', 'X-User-Groups: admin'), {})
  t.same(await send(t, app, 'User-Agent: a', 'User-Agent: b'), {})
  t.same(await send(t, app, 'X-User-Id: alice, admin', 'X-User-Groups: a, b'), { targetingKey: 'alice, admin', groups: ['a', 'b'] })
  t.same(await send(t, app, 'X-User-Id: alice', 'x-user-id: admin'), {})
  const said = lines().filter(({ msg }) => msg.includes('x-user-id is ignored'))
  t.equal(said.length, 1)
  t.notMatch(JSON.stringify(lines()), /alice|admin/)
})

t.test('a header longer than a kilobyte is ignored', async (t) => {
  const { app, lines } = await build(t)
  const ask = async (length: number) => (await app.inject({ url: '/', headers: { 'x-user-id': 'u'.repeat(length) } })).json()
  t.same(await ask(1024), { targetingKey: 'u'.repeat(1024) })
  t.same(await ask(1025), {})
  t.ok(lines().some(({ msg }) => msg.includes('x-user-id is ignored: it is longer than 1024 bytes')))
})

t.test('headers may be named otherwise, and further ones are attributes', async (t) => {
  const { app } = await build(t, { headers: { user: 'X-Account', plan: 'x-plan', age: 'X-Age' } })
  const headers = { 'x-account': 'acme', 'x-user-id': 'alice', 'x-plan': 'pro%20plus', 'x-age': '30' }
  t.same((await app.inject({ url: '/', headers })).json(), { targetingKey: 'acme', plan: 'pro plus', age: '30' })
})

t.test('more group lists than are kept in mind are still each read right', async (t) => {
  const { app } = await build(t)
  for (let i = 0; i < 1100; i++) {
    const { groups } = (await app.inject({ url: '/', headers: { 'x-user-groups': `g${i},g${i + 1}` } })).json()
    if (groups[0] !== `g${i}` || groups[1] !== `g${i + 1}`) return t.fail(`list ${i} was read as ${groups}`)
  }
})

t.test('the option context says who asks, in place of the headers', async (t) => {
  class Account { targetingKey = 'alice'; plan = 'pro' }
  let given: unknown
  const { app } = await build(t, { context: () => given as undefined })
  const ask = async () => (await app.inject({ url: '/', headers: { 'x-user-id': 'mallory' } })).json()
  given = { targetingKey: 'alice', groups: ['a'] }
  t.same(await ask(), { targetingKey: 'alice', groups: ['a'] })
  given = new Account()
  t.same(await ask(), { targetingKey: 'alice', plan: 'pro' })
  given = undefined
  t.same(await ask(), {})
  given = null
  t.same(await ask(), {})
})

t.test('the option context is called at the first need, once a request, after the hooks that ran before', async (t) => {
  let calls = 0
  const app = Fastify()
  t.teardown(() => app.close())
  app.decorateRequest('userId', '')
  await app.register(flags, { store: 'memory', context: (req) => { calls++; return { targetingKey: req.getDecorator<string>('userId') } } })
  app.addHook('onRequest', async (req) => { req.setDecorator('userId', 'alice') })
  app.get('/none', async () => ({}))
  app.get('/', async (req) => [req.flags.context, req.flags.context])
  await app.inject('/none')
  t.equal(calls, 0)
  t.same((await app.inject('/')).json(), [{ targetingKey: 'alice' }, { targetingKey: 'alice' }])
  t.equal(calls, 1)
})

t.test('the option context may give just the targeting key', async (t) => {
  const { app } = await build(t, { context: () => 'alice' })
  t.same((await app.inject('/')).json(), { targetingKey: 'alice' })
})

for (const [what, context, said] of [
  ['throws', () => { throw new Error('no session') }, /the option context threw/],
  ['returns a promise', async () => ({ targetingKey: 'alice' }), /promise, but it must be synchronous/],
  ['returns a promise that rejects', async () => { throw new Error('no session') }, /promise, but it must be synchronous/],
  ['returns a boolean', () => true, /must return an object.*a boolean/],
  ['returns a list', () => ['alice'], /must return an object.*a list/]
] as const) {
  t.test(`a context function that ${what} leaves an empty context and is logged once`, async (t) => {
    const { app, lines } = await build(t, { context: context as () => undefined })
    const problems: string[] = []
    app.flags.on('problem', ({ code }) => { problems.push(code) })
    for (let i = 0; i < 3; i++) t.same((await app.inject('/')).json(), {})
    const complaints = lines().filter(({ level }) => level >= 40)
    t.equal(complaints.length, 1)
    t.match(complaints[0]!.msg, said)
    t.same(problems, ['FST_FLAGS_CONTEXT_FAILED'])
  })
}
