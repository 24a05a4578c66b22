import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { text } from 'node:stream/consumers'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import flags, { Memory, MemoryStore, type FlagsOptions } from '../src/index.js'
import { logs } from './helpers/logs.js'

async function build (t: Test, options: FlagsOptions = { store: 'memory' }): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(flags, options)
  return app
}

const on = { enabled: true }
const off = { enabled: false }

t.test('a change made in one process is what the other answers next', async (t) => {
  const memory = new Memory()
  const [first, second] = [await build(t, { store: new MemoryStore(memory) }), await build(t, { store: new MemoryStore(memory) })]
  second.get('/', async (req) => ({ on: req.flags.isEnabled('new-checkout') }))
  t.same((await second.inject('/')).json(), { on: false })
  const followed = new Promise((resolve) => second.flags.once('change', resolve))
  await first.flags.admin.put('new-checkout', on, { by: 'alice' })
  await followed
  t.same((await second.inject('/')).json(), { on: true })
})

t.test('request.flags is one object a request, with the flags of its first read', async (t) => {
  const app = await build(t)
  app.get('/', async (req) => {
    const before = req.flags.isEnabled('k')
    await app.flags.admin.put('k', on)
    return [before, req.flags.isEnabled('k'), new Set([req.flags, req.flags]).size === 1]
  })
  t.same((await app.inject('/')).json(), [false, false, true])
  t.same((await app.inject('/')).json(), [true, true, true])
})

t.test('request.flags works in child scopes, hooks, error handlers and the 404 handler', async (t) => {
  const app = await build(t)
  await app.flags.admin.put('k', on)
  await app.register(async (scope) => {
    scope.decorateRequest('note', '')
    scope.get('/', async (req) => req.flags.isEnabled('k'))
    scope.get('/fails', async () => { throw new Error('boom') })
    scope.setErrorHandler<Error>((error, req, reply) => { reply.send({ [error.message]: req.flags.isEnabled('k') }) })
  }, { prefix: '/scope' })
  app.addHook('onSend', async (req, reply) => { reply.header('x-k', String(req.flags.isEnabled('k'))) })
  app.setNotFoundHandler((req, reply) => { reply.send({ missing: req.flags.isEnabled('k') }) })
  t.match(await app.inject('/scope'), { body: 'true', headers: { 'x-k': 'true' } })
  t.same((await app.inject('/scope/fails')).json(), { boom: true })
  t.same((await app.inject('/nowhere')).json(), { missing: true })
})

t.test('two scopes, and the scope around them, each answer from their own registration', async (t) => {
  const app = await build(t)
  const scopes: FastifyInstance[] = [app]
  for (const prefix of ['/a', '/b']) {
    await app.register(async (scope) => {
      await scope.register(flags, { store: 'memory', namespace: prefix.slice(1) })
      scope.get('/', async (req) => req.flags.isEnabled('k'))
      scope.get('/guarded', { config: { flag: 'k' } }, async () => 'here')
      scopes.push(scope)
    }, { prefix })
  }
  app.get('/', async (req) => req.flags.isEnabled('k'))
  const answers = async () => Promise.all(['/', '/a', '/b'].map(async (url) => (await app.inject(url)).body))
  await app.ready()
  for (const [i, scope] of scopes.entries()) {
    for (const other of scopes) await other.flags.admin.put('k', off)
    await scope.flags.admin.put('k', on)
    t.same(await answers(), ['false', 'false', 'false'].with(i, 'true'))
    t.equal((await app.inject('/a/guarded')).statusCode, i === 1 ? 200 : 404)
    t.equal((await app.inject('/b/guarded')).statusCode, i === 2 ? 200 : 404)
  }
})

t.test('a second registration in one scope is refused with the form for two', async (t) => {
  const app = await build(t)
  await t.rejects(async () => { await app.register(flags, { store: 'memory' }) }, { code: 'FST_FLAGS_ALREADY_REGISTERED', message: /app\.register\(async \(scope\)/ })
})

t.test('evaluation registers its routes, and names the option when one of them is taken', async (t) => {
  const app = await build(t, { store: 'memory', evaluation: { prefix: '/feature' } })
  await app.flags.admin.put('k', on)
  t.match((await app.inject('/feature/flags/k/evaluate')).json(), { key: 'k', enabled: true })
  t.equal((await (await build(t)).inject('/flags/k/evaluate')).statusCode, 404, 'off by default')

  const taken = Fastify()
  t.teardown(() => taken.close())
  taken.get('/flags', async () => 'mine')
  await t.rejects(async () => { await taken.register(flags, { store: 'memory', evaluation: {} }) }, { code: 'FST_FLAGS_INVALID_OPTION', message: /option evaluation is taken.*\/flags.*evaluation\.prefix/ })
})

t.test('admin registers its routes under /admin or its prefix, and needs to know who may use them', async (t) => {
  const alice = 'a-secret-of-alice-0123'
  for (const [prefix, url] of [[undefined, '/admin/flags/k'], ['/ops/flags', '/ops/flags/flags/k']] as const) {
    const app = await build(t, { store: 'memory', admin: { prefix, tokens: { alice } } })
    t.equal((await app.inject({ method: 'PUT', url, payload: on })).statusCode, 401)
    const answer = await app.inject({ method: 'PUT', url, payload: on, headers: { authorization: `Bearer ${alice}` } })
    t.match(answer.json(), { key: 'k', enabled: true, updatedBy: 'alice' })
    t.equal(app.flags.for('u').isEnabled('k'), true)
  }
  t.equal((await (await build(t)).inject('/admin/flags')).statusCode, 404, 'off by default')
  await t.rejects(build(t, { store: 'memory', admin: {} }), { code: 'FST_FLAGS_INVALID_OPTION' })
})

t.test('the start log says what is served from where, and warns of a memory that nobody asked for', async (t) => {
  const start = async (options: FlagsOptions = {}) => {
    const { stream, lines } = logs()
    const app = Fastify({ logger: { stream } })
    t.teardown(() => app.close())
    await app.register(flags, options)
    return lines()
  }
  const silent = await start({ store: 'memory', environment: 'staging' })
  t.match(silent[0], { msg: /environment staging from memory/, environment: 'staging', store: 'memory' })
  t.notOk(silent.some(({ level }) => level > 30))
  const warned = (await start()).filter(({ level }) => level === 40)
  t.equal(warned.length, 1)
  t.match(warned[0]!.msg, /kept in memory and end with this process; give redis or store/)
})

t.test('an environment that no flag knows is warned of with the known ones', async (t) => {
  const memory = new Memory()
  const writer = await build(t, { store: new MemoryStore(memory) })
  await writer.flags.admin.put('simple', on)
  const warnings = async (environment: string) => {
    const { stream, lines } = logs()
    const app = Fastify({ logger: { stream } })
    t.teardown(() => app.close())
    await app.register(flags, { store: new MemoryStore(memory), environment })
    return lines().filter(({ level }) => level === 40).map(({ msg }) => msg)
  }
  t.same(await warnings('stagging'), [])
  await writer.flags.admin.put('k', { environments: { production: on, staging: on } })
  t.same(await warnings('staging'), [])
  t.match(await warnings('stagging'), [/no flag knows the environment stagging; known are production, staging/])
})

t.test('a closed app leaves nothing that keeps its process alive', async (t) => {
  const code = `
    import Fastify from 'fastify'
    import flags from ${JSON.stringify(new URL('../src/index.ts', import.meta.url).href)}
    const app = Fastify()
    await app.register(flags, { store: 'memory' })
    app.get('/', async (req) => req.flags.isEnabled('k'))
    await app.listen({ port: 0, host: '127.0.0.1' })
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
