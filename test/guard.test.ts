import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import flags, { type FlagsOptions } from '../src/index.js'

async function build (t: Test, options: FlagsOptions = {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(flags, { store: 'memory', ...options })
  return app
}

t.test('a guarded route is there while its flag is on, and looks missing while it is off', async (t) => {
  const app = await build(t)
  app.get('/new', { config: { flag: 'new-checkout' } }, async () => 'new')
  const off = await app.inject('/new')
  const missing = await app.inject('/missing')
  t.equal(off.statusCode, 404)
  t.same(off.json(), { ...missing.json(), message: 'Route GET:/new not found' })
  t.same(Object.keys(off.headers).sort(), Object.keys(missing.headers).sort())

  await app.flags.admin.put('new-checkout', { enabled: true })
  t.equal((await app.inject('/new')).body, 'new')
  await app.flags.admin.put('new-checkout', { enabled: false })
  t.equal((await app.inject('/new')).statusCode, 404)
})

t.test('an app with a 404 handler of its own answers with that', async (t) => {
  const app = await build(t)
  app.setNotFoundHandler((req, reply) => { reply.code(404).type('text/html').send('<h1>lost</h1>') })
  app.get('/new', { config: { flag: 'new-checkout' } }, async () => 'new')
  t.equal((await app.inject('/new')).body, '<h1>lost</h1>')
})

t.test('HEAD and every method of a route are guarded, under a prefix too', async (t) => {
  const app = await build(t)
  await app.register(async (scope) => {
    scope.get('/', { config: { flag: 'k' } }, async () => 'root')
    scope.route({ method: ['GET', 'POST'], url: '/both', config: { flag: 'k' }, handler: async () => 'both' })
  }, { prefix: '/scope' })
  const requests = [['GET', '/scope'], ['GET', '/scope/'], ['HEAD', '/scope'], ['HEAD', '/scope/'], ['GET', '/scope/both'], ['HEAD', '/scope/both'], ['POST', '/scope/both']] as const
  for (const [method, url] of requests) t.equal((await app.inject({ method, url })).statusCode, 404, `${method} ${url}`)
  await app.flags.admin.put('k', { enabled: true })
  for (const [method, url] of requests) t.equal((await app.inject({ method, url })).statusCode, 200, `${method} ${url}`)
})

t.test('a guarded route runs all its preHandlers, the later ones of its scope too', async (t) => {
  const app = await build(t)
  const order: string[] = []
  const note = (name: string) => async () => { order.push(name); if (name === 'handler') return 'ok' }
  app.get('/', { preHandler: [note('own 1'), note('own 2')], config: { flag: 'k' } }, note('handler'))
  app.get('/single', { preHandler: note('own'), config: { flag: 'k' } }, async () => 'ok')
  app.addHook('preHandler', note('later'))
  await app.flags.admin.put('k', { enabled: true })
  await app.inject('/')
  t.same(order, ['later', 'own 1', 'own 2', 'handler'])
  t.equal((await app.inject('/single')).statusCode, 200)
})

t.test('the guard comes after authentication, so the flag is that of whoever was found', async (t) => {
  const app = await build(t, { context: (req) => ({ targetingKey: req.getDecorator<string>('userId') }) })
  app.decorateRequest('userId', '')
  const authenticate = async (req: FastifyRequest) => { req.setDecorator('userId', String(req.headers.authorization)) }
  app.get('/', { preHandler: authenticate, config: { flag: 'beta' } }, async (req) => req.flags.context)
  await app.flags.admin.put('beta', { enabled: true, serve: 'off', targets: [{ users: ['alice'] }] })
  t.equal((await app.inject({ url: '/', headers: { authorization: 'mallory' } })).statusCode, 404)
  t.same((await app.inject({ url: '/', headers: { authorization: 'alice' } })).json(), { targetingKey: 'alice' })
})

t.test('{ statusCode } answers with an error of that status', async (t) => {
  const app = await build(t)
  app.get('/', { config: { flag: { key: 'k', statusCode: 403 } } }, async () => 'on')
  const answer = await app.inject('/')
  t.equal(answer.statusCode, 403)
  t.match(answer.json(), { statusCode: 403, code: 'FST_FLAGS_FLAG_OFF', error: 'Forbidden' })
})

t.test('{ handler } answers in place of the route', async (t) => {
  const app = await build(t)
  app.decorate('name', 'the app')
  app.get('/returns', { config: { flag: { key: 'k', handler: async () => ({ old: true }) } } }, async () => 'on')
  app.get('/sends', { config: { flag: { key: 'k', statusCode: 202, handler (this: FastifyInstance & { name?: string }, req: unknown, reply: FastifyReply) { reply.send(this.name) } } } }, async () => 'on')
  app.get('/later', { config: { flag: { key: 'k', handler: async (req, reply) => { setImmediate(() => reply.send('later')); return reply } } } }, async () => 'on')
  app.get('/throws', { config: { flag: { key: 'k', handler: () => { throw new Error('boom') } } } }, async () => 'on')
  app.get('/rejects', { config: { flag: { key: 'k', handler: async () => { throw new Error('boom') } } } }, async () => 'on')
  t.same((await app.inject('/returns')).json(), { old: true })
  t.match(await app.inject('/sends'), { statusCode: 202, body: 'the app' })
  t.equal((await app.inject('/later')).body, 'later')
  for (const url of ['/throws', '/rejects']) t.match((await app.inject(url)).json(), { statusCode: 500, message: 'boom' })
  await app.flags.admin.put('k', { enabled: true })
  for (const url of ['/returns', '/sends', '/later', '/throws', '/rejects']) t.equal((await app.inject(url)).body, 'on')
})

t.test('a guard that is not well formed is an error where the route is added', async (t) => {
  const app = await build(t)
  for (const [flag, said] of [
    ['__proto__', /config\.flag of GET \/ is "__proto__", which cannot be the key/],
    ['a/b', /"a\/b"/], ['', /""/], [true, /must be the key of a flag/], [null, /must be the key/],
    [{}, /needs a key/], [{ key: 'a b' }, /"a b" cannot be one/], [{ key: 'k', status: 403 }, /has status; there are key, statusCode and handler/],
    [{ key: 'k', statusCode: 200 }, /400 to 599/], [{ key: 'k', statusCode: '403' }, /400 to 599/], [{ key: 'k', handler: 'old' }, /no function/]
  ] as const) {
    t.throws(() => app.get('/', { config: { flag: flag as 'k' } }, async () => 'on'), { code: 'FST_FLAGS_INVALID_OPTION', message: said })
  }
})

t.test('a guarded route that was added before the plugin was loaded fails rather than be open', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(flags, { store: 'memory' }) // not awaited: the next lines run first
  app.get('/early', { config: { flag: 'k' } }, async () => 'open')
  app.get('/plain', async () => 'plain')
  app.register(async (scope) => { scope.get('/late', { config: { flag: 'k' } }, async () => 'late') })
  const early = await app.inject('/early')
  t.equal(early.statusCode, 500)
  t.match(early.json().message, /GET \/early has config\.flag but was added before.*await app\.register\(flags\)/)
  t.equal((await app.inject('/plain')).body, 'plain')
  t.equal((await app.inject('/late')).statusCode, 404)
})
