import { once } from 'node:events'
import { join } from 'node:path'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { FastifyFlags } from '../src/facade.js'
import flags, { type Flag, type FlagsOptions } from '../src/index.js'
import { makeFolder } from './helpers/folder.js'
import { until } from './helpers/until.js'

const guard = { errors: {}, latency: { overMs: 10_000 } } // which none of these takes, however busy the machine
const stages = [{ percentage: 0, groups: ['internal'] }, { percentage: 50 }, { percentage: 100 }]

/** An app with flags at a stage of 50 %. */
async function build (t: Test, documents: Record<string, Flag>, options: FlagsOptions = {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(flags, { store: 'memory', ...options })
  for (const [key, document] of Object.entries(documents)) {
    await app.flags.admin.put(key, document)
    await app.flags.admin.advance(key)
  }
  return app
}

/** What is told to the guards, as a text each: flag, side, whether it failed, whether it was slow. */
function listen (t: Test, app: FastifyInstance): () => string[] {
  const calls = t.capture(FastifyFlags.countingOf(app.flags).guards, 'count', FastifyFlags.countingOf(app.flags).guards.count)
  return () => calls().flatMap(({ args: [arms, failed, milliseconds] }) => arms.map((arm) => [arm.rollout.flag, arm.treated ? 'in' : 'out', ...failed ? ['failed'] : [], ...milliseconds > arm.overMs ? ['slow'] : []].join(' ')))
}

/** Two users, drawn to either side of a flag. */
function users (app: FastifyInstance, key: string): [on: string, off: string] {
  const find = (on: boolean) => Array.from({ length: 100 }, (_, i) => `user-${i}`).find((user) => app.flags.for(user).isEnabled(key) === on)!
  return [find(true), find(false)]
}

t.test('a request counts once for each guarded rollout that it read, with how it ended', async (t) => {
  const app = await build(t, { one: { enabled: true, serve: { stages, guard } }, two: { enabled: true, serve: { stages, guard, seed: 'two' } }, free: { enabled: true, serve: { stages } } })
  app.get('/', async ({ flags }, reply) => {
    const on = [flags.isEnabled('one'), flags.getValue('one', false), flags.getVariant('one') === 'on', flags.with({ plan: 'pro' }).getDetails('one', false).value]
    flags.isEnabled('free')
    flags.getAll()
    flags.explain('two')
    if (new Set(on).size > 1) throw new Error('they differ')
    return reply.code(on[0] === true ? 503 : 404).send({})
  })
  app.get('/none', async () => ({}))
  app.get('/both', async ({ flags }) => ({ both: [flags.isEnabled('one'), flags.isEnabled('two')] }))
  app.get('/guarded', { config: { flag: 'one' } }, async () => { throw new Error('the bug') })
  const told = listen(t, app)
  const [on, off] = users(app, 'one')
  for (const url of ['/', '/none', '/guarded']) for (const user of [on, off]) await app.inject({ url, headers: { 'x-user-id': user } })
  t.same(told(), ['one in failed', 'one out', 'one in failed', 'one out'])
  const { both } = (await app.inject({ url: '/both', headers: { 'x-user-id': on } })).json<{ both: boolean[] }>()
  t.same(told().sort(), [`one ${both[0] === true ? 'in' : 'out'}`, `two ${both[1] === true ? 'in' : 'out'}`])
})

t.test('a request has one flags, and counts, though a hook reads them before the plugin knows of it', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const seen = new Set()
  app.addHook('onRequest', async ({ flags }) => {
    flags.isEnabled('two')
    seen.add(flags)
  })
  await app.register(flags, { store: 'memory' })
  for (const key of ['one', 'two']) {
    await app.flags.admin.put(key, { enabled: true, serve: { stages, guard } })
    await app.flags.admin.advance(key)
  }
  app.get('/', async ({ flags }) => {
    seen.add(flags)
    return { on: flags.isEnabled('one') }
  })
  const told = listen(t, app)
  const [on] = users(app, 'one')
  await app.inject({ url: '/', headers: { 'x-user-id': on } })
  t.equal(seen.size, 1)
  t.same(told(), ['one in'], 'what is read after it knows')
})

t.test('only whom chance has drawn counts, and who was served it', async (t) => {
  const app = await build(t, {
    one: { enabled: true, targets: [{ users: ['boss'] }], rules: [{ when: { attribute: 'region', operator: 'eq', value: 'eu' }, serve: 'on' }], serve: { stages, guard } }
  })
  await app.flags.admin.put('ruled', { enabled: true, rules: [{ name: 'eu', when: { attribute: 'region', operator: 'eq', value: 'eu' }, serve: { stages, guard } }], serve: 'off' })
  await app.flags.admin.advance('ruled', { rule: 'eu' })
  app.get('/', async ({ flags }) => ({ on: flags.isEnabled('one'), text: flags.getValue('one', 'no text') }))
  app.get('/text', async ({ flags }) => ({ text: flags.getValue('one', 'a text, so the flag is not served') }))
  app.get('/ruled', async ({ flags }) => ({ on: flags.isEnabled('ruled') }))
  const told = listen(t, app)
  const [on] = users(app, 'one')
  for (const headers of [{ 'x-user-id': 'boss' }, { 'x-user-id': on, 'x-user-groups': 'internal' }, { 'x-user-id': on, 'x-region': 'eu' }, {}]) await app.inject({ url: '/', headers })
  await app.inject({ url: '/text', headers: { 'x-user-id': on } })
  await app.inject({ url: '/ruled', headers: { 'x-user-id': on } })
  t.same(told(), [])
  await app.inject({ url: '/ruled', headers: { 'x-user-id': on, 'x-region': 'eu' } })
  t.match(told(), [/^ruled/])
})

t.test('a request whose client gave up counts as slow, over a real socket', async (t) => {
  const app = await build(t, { one: { enabled: true, serve: { stages, guard: { latency: { overMs: 300 } } } } })
  let begun = Infinity
  app.get('/', async ({ flags }) => {
    begun = performance.now()
    if (flags.isEnabled('one')) await once(app.server, 'never')
    return {}
  })
  const told = listen(t, app)
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const [on] = users(app, 'one')
  const client = new AbortController()
  const answer = t.rejects(fetch(address, { headers: { 'x-user-id': on }, signal: client.signal }))
  await until(() => performance.now() - begun > 400)
  client.abort()
  await answer
  const all: string[] = []
  await until(() => all.push(...told()) > 0)
  t.same(all, ['one in slow'])
})

t.test('other stacks report how requests went, with a server\'s token, each once', async (t) => {
  const app = await build(t, {
    one: { enabled: true, public: true, serve: { stages, guard } },
    plain: { enabled: true, public: true, serve: { stages } }
  }, { evaluation: { tokens: { backend: 'a-secret-of-a-server' }, browserTokens: { shop: 'a-secret-of-a-browser' } } })
  const [on, off] = users(app, 'one')
  const report = async (events: object[], secret = 'a-secret-of-a-server') => {
    const response = await app.inject({ method: 'POST', url: '/flags/events', headers: { authorization: `Bearer ${secret}` }, payload: { events } })
    return response.json<{ accepted: number, errors: Array<{ code: string, message: string }> }>()
  }
  const outcome = (id: string, user: string, more: object = {}) => ({ id, type: 'outcome', flag: 'one', variant: user === on ? 'on' : 'off', failed: user === on, durationMs: 20, context: { targetingKey: user }, ...more })
  const events = [outcome('a', on), outcome('b', on, { durationMs: 12_000 }), outcome('c', off), outcome('d', off, { durationMs: undefined })]
  for (let i = 0; i < 3; i++) t.same(await report(events), { accepted: 4, errors: [] })

  const { guard: seen } = await app.flags.admin.rollout('one')
  t.match(seen, { requests: { control: 2, treated: 2 }, metrics: { errors: { control: { count: 0, of: 2 }, treated: { count: 2, of: 2 } }, latency: { control: { count: 0, of: 1 }, treated: { count: 1, of: 2 } } } })

  t.match(await report([outcome('e', on)], 'a-secret-of-a-browser'), { accepted: 0, errors: [{ code: 'FST_FLAGS_FORBIDDEN', message: /from servers only/ }] })
  for (const [event, message] of [
    [outcome('f', on, { variant: 'off' }), /must be the one that was served/],
    [outcome('g', on, { failed: 'yes' }), /failed must be true or false/],
    [outcome('h', on, { failed: undefined }), /failed must be true or false/],
    [outcome('i', on, { durationMs: -1 }), /durationMs must be a number/],
    [outcome('j', on, { durationMs: '20' }), /durationMs must be a number/],
    [outcome('k', on, { flag: 'plain' }), /not drawn by a rollout with a guard/],
    [outcome('l', on, { flag: 'none' }), /"none"/],
    [outcome('m', on, { context: {} }), /not drawn by a rollout with a guard/],
    [outcome('n', on, { context: { targetingKey: on, groups: ['internal'] } }), /not drawn by a rollout with a guard/],
    [outcome('o', on, { time: Date.now() + 3_600_000 }), /lies in the future/],
    [outcome('p', on, { status: 500 }), /field "status" is not known in an outcome/]
  ] as const) t.match(await report([event]), { accepted: 0, errors: [{ message }] })
  t.match((await app.flags.admin.rollout('one')).guard, { requests: { control: 2, treated: 2 } })

  t.intercept(FastifyFlags.countingOf(app.flags).guards, 'reported', { value: () => false })
  t.match(await report([outcome('q', on)]), { accepted: 0, errors: [{ message: /no room for it now/ }] })
})

t.test('where no tokens are asked for, nobody reports outcomes', async (t) => {
  const app = await build(t, { one: { enabled: true, serve: { stages, guard } } }, { evaluation: { identity: 'caller' } })
  const response = await app.inject({ method: 'POST', url: '/flags/events', payload: { events: [{ id: 'a', type: 'outcome', flag: 'one', variant: 'on', failed: true, context: { targetingKey: 'u1' } }] } })
  t.match(response.json(), { accepted: 0, errors: [{ code: 'FST_FLAGS_FORBIDDEN', message: /FLAGS_EVALUATION_TOKENS/ }] })
})

t.test('of processes with one file, whichever sees traffic first, the one that writes the flags counts, and stops what fails', async (t) => {
  const file = join(makeFolder(t), 'flags.json')
  const writer = await build(t, { fails: { enabled: true, serve: { stages, guard } } }, { store: { file } })
  const follower = await build(t, {}, { store: { file } })
  for (const app of [writer, follower]) {
    app.get('/', async ({ flags }) => {
      if (flags.isEnabled('fails')) throw new Error('the bug')
      return {}
    })
  }
  const send = async (app: FastifyInstance) => {
    for (let i = 0; i < 200; i++) await app.inject({ url: '/', headers: { 'x-user-id': `user-${i}` } })
    await FastifyFlags.countingOf(app.flags).guards.flush()
  }
  const [on] = users(follower, 'fails')
  await send(follower)
  t.equal((await writer.flags.admin.rollout('fails')).status, 'waiting')
  await send(writer)
  await until(async () => (await writer.flags.admin.rollout('fails')).alarm !== undefined)
  await until(() => !follower.flags.for(on).isEnabled('fails'))
})

t.test('a snapshot knows whether there are guards, through every change', async (t) => {
  const app = await build(t, { plain: { enabled: true, serve: { stages } } })
  const has = () => app.flags.for().snapshot.hasGuards
  const seen = [has()]
  const guarded: Flag = { enabled: true, serve: { stages, guard } }
  for (const change of [
    () => app.flags.admin.put('one', guarded), () => app.flags.admin.put('two', { environments: { staging: guarded } }), () => app.flags.admin.delete('one'),
    () => app.flags.admin.put('plain', { enabled: true, rules: [{ when: { attribute: 'region', operator: 'eq', value: 'eu' }, serve: { stages, guard } }], serve: 'off' }),
    () => app.flags.admin.delete('two'), () => app.flags.admin.put('plain', { enabled: true })
  ]) {
    await change()
    seen.push(has())
  }
  t.same(seen, [false, true, true, true, true, true, false])
})
