import t, { type Test } from 'tap'
import { Admin } from '../src/admin.js'
import { checkOptions } from '../src/options.js'
import { openCounting } from '../src/plugin/open-counting.js'
import { FastifyFlags } from '../src/facade.js'
import type { FlagsError } from '../src/errors.js'
import { Flags } from '../src/flags.js'
import type { Flag } from '../src/model/flag.js'
import { Replica } from '../src/replica.js'
import { MemoryStore } from '../src/store/memory.js'
import { memoryOf } from './helpers/memory.js'

const documents: Record<string, Flag> = {
  on: { enabled: true },
  off: { enabled: false },
  size: { enabled: true, variants: { small: 1, large: 10 }, offVariant: 'small', serve: 'small', rules: [{ when: { attribute: 'plan', operator: 'eq', value: 'pro' }, serve: 'large' }] },
  layout: { enabled: true, variants: { old: { columns: 1 }, new: { columns: 2 } }, offVariant: 'old', serve: 'new', public: true },
  split: { enabled: true, variants: ['control', 'b'], serve: { split: { control: 1 } } },
  beta: { enabled: true, serve: 'off', targets: [{ users: ['u1', '7'], groups: ['beta'], regions: ['eu', '49'] }] },
  staging: { environments: { staging: { enabled: true } } },
  broken: { enabled: true, variants: ['a'], offVariant: 'gone', serve: 'gone' }
}

async function build (t: Test) {
  const replica = new Replica({ store: new MemoryStore(memoryOf(documents)) })
  t.teardown(() => replica.close())
  await replica.start()
  const problems: FlagsError[] = []
  replica.on('problem', (problem) => problems.push(problem))
  return { replica, problems, flags: new FastifyFlags(replica, 'production', new Admin(replica), await openCounting(checkOptions({ store: 'memory' }), replica)) }
}

/** What a caller without types can do. */
const any = <T>(value: unknown) => value as T

t.test('isEnabled is a boolean flag\'s value, and of others whether a variant but offVariant is served or a split chose', async (t) => {
  const flags = (await build(t)).flags.for('u1', { plan: 'free' })
  t.same(['on', 'off', 'size', 'layout', 'split', 'staging'].map((key) => flags.isEnabled(key)), [true, false, false, true, true, false])
  t.equal(flags.with({ plan: 'pro' }).isEnabled('size'), true)
})

t.test('what cannot be said is the caller\'s default', async (t) => {
  const flags = (await build(t)).flags.for('u1')
  for (const key of ['nothing', 'broken']) {
    t.equal(flags.isEnabled(key), false)
    t.equal(flags.isEnabled(key, true), true)
    t.equal(flags.getVariant(key), undefined)
    t.equal(flags.getVariant(key, 'control'), 'control')
    t.equal(flags.getValue(key, 5), 5)
    t.equal(flags.getValue(key, undefined), undefined)
  }
  t.same(flags.getDetails('nothing', 5), { value: 5, reason: 'ERROR', errorCode: 'FLAG_NOT_FOUND', errorMessage: 'there is no flag nothing', flagMetadata: {} })
  t.match(flags.getDetails('broken', 5), { value: 5, reason: 'ERROR', errorCode: 'GENERAL' })
})

t.test('before anything is loaded the default is served, with PROVIDER_NOT_READY', async (t) => {
  const replica = new Replica({ store: new MemoryStore() })
  const flags = new Flags(replica, 'production', 'u1')
  t.equal(flags.isEnabled('on', true), true)
  t.match(flags.getDetails('on', false), { value: false, reason: 'ERROR', errorCode: 'PROVIDER_NOT_READY' })
  t.same(flags.getAll(), {})
  await replica.start()
  t.match(flags.with({}).getDetails('on', false), { errorCode: 'PROVIDER_NOT_READY' }, 'a pinned one stays what it was')
  t.match(new Flags(replica, 'production', 'u1').getDetails('on', false), { errorCode: 'FLAG_NOT_FOUND' })
  await replica.close()
})

t.test('a value of another type than the default\'s is a TYPE_MISMATCH; null and undefined have no type', async (t) => {
  const flags = (await build(t)).flags.for('u1')
  t.equal(flags.getValue('size', 0), 1)
  t.same(flags.getValue('layout', {}), { columns: 2 })
  for (const fallback of ['1', true, {}, [], any(() => 1), any(Symbol('1'))]) {
    t.equal(flags.getValue('size', fallback), fallback)
    t.match(flags.getDetails('size', fallback), { reason: 'ERROR', errorCode: 'TYPE_MISMATCH', errorMessage: /number/ })
  }
  t.equal(flags.getValue('layout', 'x'), 'x')
  t.equal(flags.getValue('size', null), 1)
  t.equal(flags.getValue('size', undefined), 1)
})

t.test('details are OpenFeature\'s, frozen, and the same object each time', async (t) => {
  const flags = (await build(t)).flags.for('u1', { plan: 'pro' })
  const details = flags.getDetails('size', 0)
  t.same(details, { value: 10, variant: 'large', reason: 'TARGETING_MATCH', flagMetadata: { cause: 'rule', rule: '0', environment: 'production', version: 3 } })
  t.equal(flags.getDetails('size', 0), details)
  t.ok(Object.isFrozen(details) && Object.isFrozen(flags.getValue('layout', {})))
  t.equal(flags.getVariant('size'), 'large')
})

t.test('getAll gives each value by its key, leaves errors out, and the private ones where asked', async (t) => {
  const flags = (await build(t)).flags.for('u1')
  t.same(flags.getAll(), { on: true, off: false, size: 1, layout: { columns: 2 }, split: 'control', beta: true, staging: false })
  t.same(flags.getAll({ publicOnly: true }), { layout: { columns: 2 } })
  const all = flags.getAll()
  delete all.on
  t.equal(flags.getAll().on, true, 'each call gives its own')
})

t.test('for takes a user or a context, more attributes, and another environment', async (t) => {
  const { flags } = await build(t)
  t.equal(flags.for('u1').isEnabled('beta'), true)
  t.equal(flags.for('u2', { groups: ['beta'] }).isEnabled('beta'), true)
  t.equal(flags.for({ targetingKey: 'u1' }).isEnabled('beta'), true)
  t.equal(flags.for({ targetingKey: 'u1' }, { targetingKey: 'u2' }).isEnabled('beta'), false)
  t.equal(flags.for().isEnabled('beta'), false)
  t.equal(flags.for('u1', undefined, { environment: 'staging' }).isEnabled('staging'), true)
  t.equal(flags.for('u1', {}, { environment: 'staging' }).isEnabled('staging'), true)
  t.equal(flags.for('u1', {}, { environment: any(7) }).environment, 'production')
})

t.test('contexts of every shape are read sensibly and never throw', async (t) => {
  const { flags, problems } = await build(t)
  class User { targetingKey = 'u1'; get groups (): string[] { throw new Error('a prototype\'s getter is none of ours') } }
  const bare = Object.assign(Object.create(null) as object, { groups: ['beta'] })
  const hits = [7, 7n, { targetingKey: 7 }, new User(), bare, { groups: 'beta' }, { groups: ['x', 7, null, 'beta'] }, { region: 49 }]
  for (const context of hits) t.equal(flags.for(any(context)).isEnabled('beta'), true, String(Object.keys(Object(context))))
  const misses = [null, true, Symbol('u1'), ['u1'], NaN, { targetingKey: {} }, { groups: { 0: 'beta' } }, { groups: null }, { region: ['eu'] }, JSON.parse('{"__proto__":{"targetingKey":"u1"}}'), new Date(0), new Map([['targetingKey', 'u1']])]
  for (const context of misses) t.equal(flags.for(any(context)).isEnabled('beta'), false)
  t.same(problems, [])
  t.equal(flags.for(any({ get targetingKey () { throw new Error('mine') } })).isEnabled('beta'), false)
  t.match(problems, [{ code: 'FST_FLAGS_CONTEXT_FAILED', message: /mine/ }])
})

t.test('the context is a copy: what becomes of the original changes nothing', async (t) => {
  const given = { targetingKey: 'u1', groups: ['beta'], plan: 'pro' }
  const flags = (await build(t)).flags.for(given)
  given.plan = 'free'
  given.groups.length = 0
  t.same(flags.context, { targetingKey: 'u1', groups: ['beta'], plan: 'pro' })
  t.same([given.plan, given.groups], ['free', []])
  t.equal(flags.isEnabled('size'), true)
})

t.test('with adds to the context and keeps snapshot, now and environment', async (t) => {
  const { flags, problems } = await build(t)
  const base = flags.for({ targetingKey: 'u1', plan: 'free', region: 'eu' }, undefined, { environment: 'staging' })
  const more = base.with({ plan: 'pro', seats: 5 })
  t.same(more.context, { targetingKey: 'u1', plan: 'pro', region: 'eu', seats: 5 })
  t.same(base.context, { targetingKey: 'u1', plan: 'free', region: 'eu' })
  t.same([more.snapshot === base.snapshot, more.now === base.now, more.environment], [true, true, 'staging'])
  t.same(base.with(any(undefined)).context, base.context)
  t.same(base.with(any('nonsense')).context, base.context)
  t.same(base.with(any({ get plan () { throw new Error('no plan') } })).context, base.context)
  t.equal(problems.length, 1)
})

t.test('a request is asked once who sends it, when a flag first needs that', async (t) => {
  const { replica } = await build(t)
  let calls = 0
  const flags = new Flags(replica, 'production', undefined, undefined, { readContext: () => ({ calls: ++calls, targetingKey: 'u1' }), noteArm () {} })
  flags.isEnabled('on')
  t.equal(calls, 0)
  t.same([flags.isEnabled('beta'), flags.isEnabled('beta'), calls], [true, true, 1])
})

t.test('a promise or a function is nobody, and a promise is reported once', async (t) => {
  const { flags, problems } = await build(t)
  for (let i = 0; i < 3; i++) t.equal(flags.for(any(Promise.reject(new Error('never seen')))).isEnabled('beta'), false)
  t.match(problems, [{ code: 'FST_FLAGS_CONTEXT_FAILED', message: /promise/ }])
  t.same(flags.for(any(() => { throw new Error('never called') })).context, {})
})

t.test('explain tells what was served, and of no flag that there is none', async (t) => {
  const flags = (await build(t)).flags.for('u1', { plan: 'pro' })
  for (const key of Object.keys(documents)) {
    const { resolution: { enabled = false, ...resolution } } = flags.explain(key)
    t.same([resolution, enabled], [flags.getDetails(key, undefined), flags.isEnabled(key)])
  }
  t.match(flags.explain('size').steps.at(-1), { check: 'rule', answers: true })
  t.match(flags.explain('nothing'), { key: 'nothing', environment: 'production', steps: [], resolution: { reason: 'ERROR', errorCode: 'FLAG_NOT_FOUND' } })
})

t.test('keys of any type and prototype\'s names never throw', async (t) => {
  const flags = (await build(t)).flags.for('u1')
  for (const key of [undefined, null, 5, Symbol('on'), {}, [], () => {}, { toString () { throw new Error('no') } }, '__proto__', 'constructor', 'toString', '']) {
    t.equal(flags.isEnabled(any(key)), false)
    t.equal(flags.isEnabled(any(key), true), true)
    t.equal(flags.getVariant(any(key), 'x'), 'x')
    t.equal(flags.getValue(any<string>(key), 'x', { expose: true }), 'x')
    t.match(flags.getDetails(any<string>(key), 'x'), { errorCode: 'FLAG_NOT_FOUND' })
    t.match(flags.explain(any(key)), { resolution: { errorCode: 'FLAG_NOT_FOUND' } })
    flags.expose(any(key))
    flags.track(any(key), any(key))
  }
  t.equal(flags.getValue('size', 0, any(null)), 1)
  t.doesNotThrow(() => flags.track('goal', any({ value: 'x' })))
})
