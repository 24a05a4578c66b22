import { mkdir, mkdtemp, rename, rm, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import fc from 'fast-check'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { Trial } from '../src/evaluation/trial.js'
import type { Counts } from '../src/experiments/counts.js'
import type { Batch, Ledger } from '../src/experiments/ledger.js'
import { MemoryLedger } from '../src/experiments/memory.js'
import { Recorder } from '../src/experiments/recorder.js'
import { RedisLedger } from '../src/experiments/redis.js'
import { SeenUnits } from '../src/experiments/seen-units.js'
import { FastifyFlags } from '../src/facade.js'
import flags, { evaluationRoutes, type Flag, type FlagsError, type FlagsOptions } from '../src/index.js'
import { experimentOf } from '../src/model/experiment.js'
import { makeFolder } from './helpers/folder.js'
import { subjectOf } from './helpers/evaluate.js'
import { batchOf, patient, someExperiment } from './helpers/ledger-contract.js'
import { startRedis } from './helpers/redis.js'
import { road } from './helpers/road.js'
import { until } from './helpers/until.js'

const documents: Record<string, Flag> = {
  pricing: { enabled: true, variants: { control: { layout: 'old' }, compact: { layout: 'new' } }, offVariant: 'control', serve: { split: { control: 50, compact: 50 } }, targets: [{ variant: 'compact', users: ['boss'] }], experiment: {} },
  quarter: { enabled: true, serve: { percentage: 25 }, experiment: {} },
  plain: { enabled: true, serve: { percentage: 25 } }
}

async function build (t: Test, options: FlagsOptions = { store: 'memory' }, more: Record<string, Flag> = {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(flags, options)
  for (const [key, document] of Object.entries({ ...documents, ...more })) await app.flags.admin.put(key, document)
  return app
}

function recorderOf (app: FastifyInstance): Recorder {
  return FastifyFlags.countingOf(app.flags).recorder
}

async function counts (app: FastifyInstance, key: string, environment = 'production'): Promise<Counts> {
  return await recorderOf(app).read(experimentOf(key, app.flags.admin.get(key), environment)!)
}

const units = ({ variants }: Counts) => Object.values(variants).reduce((sum, { units }) => sum + units, 0)
const exposures = ({ variants }: Counts) => Object.values(variants).reduce((sum, { exposures }) => sum + exposures, 0)

t.test('each single read of a flag with an experiment exposes its unit, once, to what was drawn for it', async (t) => {
  const app = await build(t)
  const user = app.flags.for('u1')
  const variant = user.getVariant('pricing', 'none')
  user.getValue('pricing', {})
  user.getDetails('pricing', {})
  user.isEnabled('pricing')
  app.flags.for('u1').with({ plan: 'pro' }).getValue('pricing', null)
  const { variants, since } = await counts(app, 'pricing')
  t.match(variants[variant], { units: 1, exposures: 5 })
  t.equal(units({ variants } as Counts), 1)
  t.ok(since! <= Date.now())
  t.equal(units(await counts(app, 'quarter')), 0)
  for (let i = 0; i < 100; i++) app.flags.for(`u${i}`).isEnabled('quarter')
  const quarter = await counts(app, 'quarter')
  t.equal(units(quarter), 100)
  t.ok(quarter.variants.on!.units > 10 && quarter.variants.off!.units > 50)
})

t.test('of a unit that comes again, in whatever order units and flags come, nothing is told until thousands of others have come', (t) => {
  const experiments = Array.from({ length: 40 }, () => someExperiment()) // more than are remembered together
  fc.assert(fc.property(fc.array(fc.tuple(fc.constantFrom('u1', 'u2', 'u3'), fc.nat(39), fc.constantFrom('a', 'b')), { maxLength: 100, size: 'max' }), fc.nat(60_000), fc.nat(24_000), (reads, before, after) => {
    const seen = new SeenUnits()
    const told = new Set<string>()
    const [first, ...trials] = experiments.flatMap((experiment) => ['a', 'b'].map((variant) => new Trial(experiment, variant, () => '')))
    const trialOf = (which: number, variant: string) => trials.find((trial) => trial.experiment === experiments[which] && trial.variant === variant) ?? first!
    for (let i = 0; i < before; i++) seen.add(`before ${i}`, first!)
    for (const [unit, which, variant] of reads) {
      const trial = trialOf(which, variant)
      const isNew = !told.has(`${unit} ${trials.indexOf(trial)}`)
      if (seen.has(unit, trial) === isNew) return false
      if (isNew) seen.add(unit, trial)
      told.add(`${unit} ${trials.indexOf(trial)}`)
    }
    for (let i = 0; i < after; i++) seen.add(`after ${i}`, first!)
    return reads.every(([unit, which, variant]) => seen.has(unit, trialOf(which, variant))) && !seen.has('after', first!)
  }), { numRuns: 50 })
  const seen = new SeenUnits()
  const trial = new Trial(someExperiment(), 'a', () => '')
  for (let i = 0; i < 60_000; i++) seen.add(`u${i}`, trial)
  t.equal(seen.has('u0', trial), false, 'what is kept is bounded')
  t.equal(seen.has('u59999', trial), true)
  t.end()
})

t.test('a flag that is written again tells of everybody again, as its store may have lost what it was told; of others nobody is forgotten', (t) => {
  const seen = new SeenUnits()
  const compiled = (experiment = someExperiment()) => new Trial(experiment, 'a', () => '')
  const [often, other] = [someExperiment(), compiled()]
  seen.add('u1', other)
  let known = 0
  for (let i = 0; i < 100_000; i++) {
    const trial = compiled(often)
    if (seen.has('u1', trial)) known++
    seen.add('u1', trial)
    if (!seen.has('u1', trial)) known++
  }
  t.equal(known, 0)
  t.ok(seen.has('u1', other))
  t.end()
})

t.test('nothing is exposed by all values, explanations, reads that say so, the flag as a prerequisite, or an answer that was not drawn', async (t) => {
  const app = await build(t, { store: 'memory' }, {
    needing: { enabled: true, prerequisites: [{ flag: 'pricing', variant: 'control' }] },
    staged: { enabled: true, serve: { stages: [{ percentage: 0, groups: ['staff'] }, { percentage: 50 }] }, experiment: {} },
    part: { enabled: true, variants: ['a', 'b'], serve: { split: { a: 1, b: 1 }, percentage: 10 }, experiment: {} },
    ruled: { enabled: true, variants: ['a', 'b'], serve: { split: { a: 1, b: 1 } }, rules: [{ when: { attribute: 'plan', operator: 'eq', value: 'pro' }, serve: { split: { a: 1, b: 1 } } }], experiment: {} }
  })
  const user = app.flags.for('u1')
  user.getAll()
  user.explain('pricing')
  user.getValue('pricing', {}, { expose: false })
  user.isEnabled('needing')
  t.equal(user.getValue('pricing', 'a text'), 'a text', 'whoever is given their default is shown that')
  t.equal(user.getDetails('pricing', 7).errorCode, 'TYPE_MISMATCH')
  app.flags.for('boss').getValue('pricing', {})
  app.flags.for().getValue('pricing', {})
  t.equal(units(await counts(app, 'pricing')), 0)
  app.flags.for({ targetingKey: 'u1', groups: ['staff'] }).isEnabled('staged')
  t.equal(units(await counts(app, 'staged')), 0, 'a group is in by its name, not by chance')
  app.flags.for('u1').isEnabled('staged')
  t.equal(units(await counts(app, 'staged')), 1)
  for (let i = 0; i < 100; i++) app.flags.for(`u${i}`).getVariant('part')
  const part = units(await counts(app, 'part'))
  t.ok(part > 0 && part < 40, `beside a split only who takes part was drawn for it: ${part}`)
  app.flags.for('u1', { plan: 'pro' }).getVariant('ruled')
  t.equal(units(await counts(app, 'ruled')), 0, 'another split draws otherwise')
})

t.test('expose(key) says later what was read before', async (t) => {
  const app = await build(t)
  const user = app.flags.for('u1')
  user.getValue('pricing', {}, { expose: false })
  user.expose('pricing')
  user.expose('plain')
  user.expose('nope')
  t.equal(units(await counts(app, 'pricing')), 1)
})

t.test('track counts for the experiments of the unit, after its exposure, once for a goal', async (t) => {
  const app = await build(t)
  app.flags.for('u2').track('purchase', { value: 9 })
  await recorderOf(app).flush()
  const user = app.flags.for('u1')
  const variant = user.getVariant('pricing', '')
  user.track('purchase', { value: 20 })
  user.track('purchase', { value: 50 })
  user.track('visit')
  const { variants, ignored } = await counts(app, 'pricing')
  t.strictSame(variants[variant]!.goals, { purchase: { conversions: 1, sum: 20, squares: 400 }, visit: { conversions: 1, sum: 0, squares: 0 } })
  t.equal(ignored.unexposed, 1)
  t.match((await counts(app, 'quarter')).ignored, { unexposed: 4 }, 'of an experiment that it was not exposed to it is no conversion')
})

t.test('what is drawn by another attribute is counted by that attribute', async (t) => {
  const app = await build(t, { store: 'memory' }, { firm: { enabled: true, variants: ['a', 'b'], serve: { split: { a: 1, b: 1 }, by: 'company' }, experiment: {} } })
  for (const user of ['u1', 'u2', 'u3']) app.flags.for(user, { company: 'acme' }).getVariant('firm')
  app.flags.for('u4').getVariant('firm')
  app.flags.for('u9', { company: 'acme' }).track('signed')
  app.flags.for('u1').track('signed')
  const { variants } = await counts(app, 'firm')
  t.equal(units({ variants } as Counts), 1)
  t.equal(Object.values(variants).reduce((sum, { goals }) => sum + goals.signed!.conversions, 0), 1)
})

t.test('a goal or value that cannot be counted is told as a problem, and throws at nobody', async (t) => {
  const app = await build(t)
  const problems: FlagsError[] = []
  app.flags.on('problem', (problem) => { problems.push(problem) })
  const user = app.flags.for('u1')
  user.getVariant('pricing')
  for (const value of [NaN, Infinity, -1, '5', 2e12, null, {}]) user.track('purchase', { value: value as number })
  for (const goal of ['', 'x'.repeat(101), 7, undefined]) user.track(goal as string)
  const { variants } = await counts(app, 'pricing')
  t.strictSame(Object.values(variants).map(({ goals }) => goals), [{}, {}])
  t.strictSame(new Set(problems.map(({ code }) => code)), new Set(['FST_FLAGS_EVENT_REFUSED']))
})

t.test('single evaluations over HTTP expose as reads do, lists do not', async (t) => {
  const app = await build(t)
  await app.register(evaluationRoutes, { identity: 'caller' })
  await app.inject('/flags?user=u1')
  t.equal(units(await counts(app, 'pricing')), 0)
  for (const user of ['u1', 'u1', 'u2']) await app.inject(`/flags/pricing/evaluate?user=${user}`)
  const all = await counts(app, 'pricing')
  t.strictSame([units(all), exposures(all)], [2, 3])
})

t.test('closing the app records what waits', async (t) => {
  const ledger = new MemoryLedger()
  const experiment = someExperiment()
  const recorder = new Recorder({ ledger, environment: 'production', now: Date.now, report: () => {} })
  recorder.exposed(experiment, { unit: 'u1', variant: 'a', time: Date.now() })
  await recorder.close()
  t.equal((await ledger.read(experiment)).variants.a!.units, 1)
  t.notOk(recorder.exposed(experiment, { unit: 'u2', variant: 'a', time: Date.now() }))
})

t.test('closing the app waits for experiments and guards side by side, not for one after the other', async (t) => {
  const app = Fastify()
  await app.register(flags)
  const { guards, recorder } = FastifyFlags.countingOf(app.flags)
  const begun: string[] = []
  let bothBegun = () => {}
  const both = new Promise<void>((resolve) => { bothBegun = resolve })
  const closing = (name: string) => async () => {
    if (begun.push(name) === 2) bothBegun()
    await both
  }
  t.intercept(guards, 'close', { value: closing('guards') })
  t.intercept(recorder, 'close', { value: closing('recorder') })
  await app.close()
  t.strictSame(begun.sort(), ['guards', 'recorder'])
})

/** A ledger that can be out of reach, or take a batch and not say so. */
class Faulty implements Ledger {
  settlesAfter = 0
  mode: 'well' | 'down' | 'silent' = 'well'
  readonly batches: Batch[] = []
  readonly inner = new MemoryLedger()

  async record (batch: Batch): Promise<void> {
    this.batches.push(batch)
    if (this.mode !== 'down') await this.inner.record(batch)
    if (this.mode !== 'well') throw new Error('no answer')
  }

  read = this.inner.read.bind(this.inner)
  add = this.inner.add.bind(this.inner)
  sums = this.inner.sums.bind(this.inner)
  claim = this.inner.claim.bind(this.inner)
  close = this.inner.close.bind(this.inner)
}

t.test('what could not be recorded is kept, sent again as it was, and counted once though it had arrived', async (t) => {
  const ledger = new Faulty()
  const problems: FlagsError[] = []
  const recorder = new Recorder({ ledger, environment: 'production', now: Date.now, report: (problem) => { problems.push(problem) } })
  t.teardown(() => recorder.close())
  const experiment = someExperiment()
  for (const mode of ['down', 'silent', 'well'] as const) {
    ledger.mode = mode
    recorder.exposed(experiment, { unit: `u-${mode}`, variant: 'a', time: Date.now(), id: mode })
    await recorder.flush()
  }
  t.strictSame(ledger.batches.slice(0, 3).map(({ id }) => id === ledger.batches[0]!.id), [true, true, true])
  t.match((await ledger.read(experiment)).variants.a, { units: 3, exposures: 3 })
  t.equal(recorder.waiting, 0)
  t.strictSame(problems.map(({ code }) => code), ['FST_FLAGS_EVENTS_WAITING'], 'told once')
})

t.test('when too many wait further ones are dropped, counted and told', async (t) => {
  const ledger = new Faulty()
  ledger.mode = 'down'
  const problems: FlagsError[] = []
  const recorder = new Recorder({ ledger, environment: 'production', now: Date.now, report: (problem) => { problems.push(problem) }, most: 5000 })
  const experiment = someExperiment()
  for (let i = 0; i < 6000; i++) recorder.exposed(experiment, { unit: `u${i}`, variant: 'a', time: 0 })
  await recorder.flush()
  t.strictSame([recorder.waiting, recorder.dropped], [5000, 1000])
  t.notOk(recorder.hasRoomFor(1))
  t.strictSame(problems.map(({ code }) => code), ['FST_FLAGS_EVENTS_LOST', 'FST_FLAGS_EVENTS_WAITING'])
  ledger.mode = 'well'
  await recorder.close()
  t.equal((await ledger.read(experiment)).variants.a!.units, 5000)
  t.ok(ledger.batches.every(({ exposures }) => exposures.length <= 1000))
})

t.test('conversions wait until exposures that other processes have seen can have arrived', async (t) => {
  const ledger = new Faulty()
  ledger.settlesAfter = 60_000
  const recorder = new Recorder({ ledger, environment: 'production', now: Date.now, report: () => {} })
  const app = await build(t)
  const { snapshot } = app.flags.for()
  recorder.track({ snapshot, environment: 'production', context: { targetingKey: 'u1' }, now: Date.now() }, 'purchase')
  await recorder.flush()
  t.equal(ledger.batches.length, 0)
  const experiment = experimentOf('pricing', documents.pricing!, 'production')!
  await ledger.inner.record(batchOf(experiment, { exposures: [{ unit: 'u1', variant: 'compact', time: 0 }] })) // another process
  await recorder.close()
  t.equal((await ledger.read(experiment)).variants.compact!.goals.purchase!.conversions, 1)
})

t.test('what is read is recorded without anyone asking for counts', async (t) => {
  const ledger = new Faulty()
  const recorder = new Recorder({ ledger, environment: 'production', now: Date.now, report: () => {} })
  t.teardown(() => recorder.close())
  recorder.exposed(someExperiment(), { unit: 'u1', variant: 'a', time: Date.now() })
  while (ledger.batches.length === 0) await pause(20)
  t.equal(recorder.waiting, 0)
})

t.test('what is read while counts are sent is recorded, though nothing else comes', async (t) => {
  const ledger = new Faulty()
  const recorder = new Recorder({ ledger, environment: 'production', now: Date.now, report: () => {} })
  t.teardown(() => recorder.close())
  const trial = new Trial(someExperiment(), 'a', ({ targetingKey }) => targetingKey ?? '')
  const expose = () => { recorder.expose(trial, subjectOf({}, { targetingKey: 'u1' })) }
  const record = ledger.record.bind(ledger)
  ledger.record = async (batch) => {
    if (ledger.batches.length === 0) expose()
    await record(batch)
  }
  expose()
  await until(() => ledger.batches.length === 2)
  t.strictSame(ledger.batches.map(({ reads }) => reads), [{ a: 1 }, { a: 1 }])
})

const exposure = (id: string, user: string, variant: string, more: object = {}) => ({ id, type: 'exposure', flag: 'pricing', variant, context: { targetingKey: user }, ...more })
const conversion = (id: string, user: string, goal = 'purchase', more: object = {}) => ({ id, type: 'conversion', goal, context: { targetingKey: user }, ...more })

async function report (app: FastifyInstance, events: unknown, more: object = {}, headers: Record<string, string> = {}) {
  const response = await app.inject({ method: 'POST', url: '/flags/events', payload: { events, ...more }, headers })
  return { status: response.statusCode, ...response.json() }
}

t.test('exposures and conversions are reported in a batch, and sent again they count once', async (t) => {
  const app = await build(t)
  await app.register(evaluationRoutes, { identity: 'caller' })
  const batch = [exposure('e1', 'u1', 'compact'), exposure('e2', 'u1', 'compact'), exposure('e3', 'u2', 'control'), conversion('c1', 'u1', 'purchase', { value: 5 }), conversion('c2', 'u1', 'purchase', { value: 7 }), conversion('c3', 'u3')]
  for (let i = 0; i < 3; i++) t.strictSame(await report(app, batch), { status: 202, accepted: 6, errors: [] })
  await report(app, [batch[0], exposure('e4', 'u1', 'compact')])
  const { variants } = await counts(app, 'pricing')
  t.match(variants, { compact: { units: 1, exposures: 3, goals: { purchase: { conversions: 1, sum: 5 } } }, control: { units: 1, exposures: 1 } })
})

t.test('an event that cannot be counted is named, with what to send instead, and keeps none of the others', async (t) => {
  const app = await build(t)
  await app.register(evaluationRoutes, { identity: 'caller' })
  const cases: Array<[unknown, string, RegExp]> = [
    [exposure('x', 'u1', 'compact', { flag: 'nope' }), 'FLAG_NOT_FOUND', /"nope"/],
    [exposure('x', 'u1', 'compact', { flag: '__proto__' }), 'FLAG_NOT_FOUND', /"__proto__"/],
    [exposure('x', 'u1', 'compact', { flag: 7 }), 'EVENT_REFUSED', /flag must be the key/],
    [exposure('x', 'u1', 'compact', { flag: undefined }), 'EVENT_REFUSED', /flag must be the key/],
    [exposure('x', 'u1', 'on', { flag: 'plain' }), 'EVENT_REFUSED', /has no experiment in the environment production/],
    [exposure('x', 'u1', 'big'), 'EVENT_REFUSED', /compares: compact, control/],
    [exposure('x', 'boss', 'compact'), 'EVENT_REFUSED', /not drawn by chance/],
    [exposure('x', '', 'compact'), 'EVENT_REFUSED', /"targetingKey"/],
    [exposure('', 'u1', 'compact'), 'EVENT_REFUSED', /id must be/],
    [{ ...exposure('x', 'u1', 'compact'), id: 7 }, 'EVENT_REFUSED', /id must be/],
    [exposure('x', 'u1', 'compact', { type: 'impression' }), 'EVENT_REFUSED', /type must be/],
    [exposure('x', 'u1', 'compact', { varient: 'a' }), 'EVENT_REFUSED', /"varient" is not known in an exposure; did you mean "variant"/],
    [exposure('x', 'u1', 'compact', { goal: 'a' }), 'EVENT_REFUSED', /"goal" is not known in an exposure/],
    [exposure('x', 'u1', 'compact', { context: { targetingKey: 7 } }), 'INVALID_REQUEST', /targetingKey/],
    [exposure('x', 'u1', 'compact', { time: Date.now() + 600_000 }), 'EVENT_REFUSED', /future/],
    [exposure('x', 'u1', 'compact', { time: '2020-01-01T00:00:00Z' }), 'EVENT_REFUSED', /24 hours/],
    [exposure('x', 'u1', 'compact', { time: 'yesterday' }), 'EVENT_REFUSED', /time must be/],
    [conversion('x', 'u1', ''), 'EVENT_REFUSED', /a goal is a text/],
    [conversion('x', 'u1', 'x'.repeat(101)), 'EVENT_REFUSED', /a goal is a text/],
    [conversion('x', 'u1', 'purchase', { goal: undefined }), 'EVENT_REFUSED', /a goal is a text/],
    [conversion('x', ''), 'EVENT_REFUSED', /whose conversion/],
    ...['5', -1, null, [1], 2e12, true].map((value): [unknown, string, RegExp] => [conversion('x', 'u1', 'purchase', { value }), 'EVENT_REFUSED', /value of a conversion is a number/]),
    [7, 'EVENT_REFUSED', /an event is an object/],
    [null, 'EVENT_REFUSED', /an event is an object/]
  ]
  const { status, accepted, errors } = await report(app, [...cases.map(([event]) => event), exposure('ok', 'u1', 'compact')])
  t.strictSame([status, accepted, errors.length], [207, 1, cases.length])
  for (const [index, [event, code, message]] of cases.entries()) t.match(errors[index], { index, code: `FST_FLAGS_${code}`, message }, JSON.stringify(event))
  t.equal(units(await counts(app, 'pricing')), 1)
})

t.test('a batch that is none, is empty or too long is refused whole', async (t) => {
  const app = await build(t)
  await app.register(evaluationRoutes, { identity: 'caller' })
  const many = Array.from({ length: 10_001 }, (_, index) => exposure(`e${index}`, `u${index}`, 'compact'))
  for (const events of [undefined, [], {}, 'x', many]) t.match(await report(app, events), { status: 400, code: 'FST_FLAGS_INVALID_REQUEST', details: [{ path: '/events', message: /1 to 10000 events/ }] })
  t.match(await report(app, [conversion('c', 'u1')], { enviroment: 'staging' }), { status: 400, details: [{ path: '/enviroment', message: /did you mean "environment"/ }] })
  t.match(await report(app, [conversion('c', 'u1')], { environment: 'a b' }), { status: 400, details: [{ path: '/environment' }] })
  t.equal(units(await counts(app, 'pricing')), 0)
  t.match(await report(app, many.slice(1)), { status: 202, accepted: 10_000 })
  t.equal(units(await counts(app, 'pricing')), 10_000)
})

t.test('pages of allowed origins may report events', async (t) => {
  const app = await build(t)
  await app.register(evaluationRoutes, { identity: 'caller', cors: ['https://shop.example'] })
  const response = await app.inject({ method: 'OPTIONS', url: '/flags/events', headers: { origin: 'https://shop.example', 'access-control-request-method': 'POST' } })
  t.match([response.statusCode, response.headers['access-control-allow-origin']], [204, 'https://shop.example'])
})

t.test('an event may come late, and counts when it happened', async (t) => {
  const app = await build(t)
  await app.register(evaluationRoutes, { identity: 'caller' })
  const hour = 3_600_000
  const at = Date.now() - 2 * hour
  t.match(await report(app, [exposure('e1', 'u1', 'compact', { time: at }), conversion('c1', 'u1', 'purchase', { time: new Date(at - hour).toISOString() }), conversion('c2', 'u1', 'visit', { time: new Date(at + hour).toISOString() })]), { status: 202 })
  const { variants, days } = await counts(app, 'pricing')
  t.strictSame(Object.keys(variants.compact!.goals), ['visit'], 'what came before the exposure is no conversion of it')
  t.ok(days.some(({ day, variants }) => day === new Date(at).toISOString().slice(0, 10) && variants.compact!.units === 1))
})

t.test('who an event is of is said by trusted headers, else by whoever may say it; browser tokens reach public flags only', async (t) => {
  const [server, browser, limited] = ['server', 'browser', 'limited'].map((name) => `${name}-secret-of-32-characters-xxxxx`)
  const app = await build(t, { store: 'memory' }, { shown: { ...documents.pricing!, public: true } })
  await app.register(evaluationRoutes, { prefix: '/open' })
  await app.register(evaluationRoutes, { tokens: { shop: server!, qa: { secret: limited!, environment: 'staging' } }, browserTokens: { web: browser! } })
  const bearer = (secret: string | undefined, more = {}) => ({ authorization: `Bearer ${secret}`, ...more })
  const open = await app.inject({ method: 'POST', url: '/open/flags/events', payload: { events: [conversion('c', 'u1')] } })
  t.match(open.json(), { accepted: 0, errors: [{ code: 'FST_FLAGS_FORBIDDEN' }] })
  t.match(await report(app, [exposure('e', 'u1', 'compact')]), { status: 401 })
  t.match(await report(app, [exposure('e1', 'u1', 'compact'), exposure('e2', 'u1', 'compact', { flag: 'shown' })], {}, bearer(server)), { status: 202 })
  const own = { context: {} }
  const answer = await report(app, [exposure('e3', '', 'compact', own), exposure('e4', '', 'compact', { ...own, flag: 'shown' }), conversion('c1', '', 'purchase', own), exposure('e5', 'u3', 'compact', { flag: 'shown' })], {}, bearer(browser, { 'x-user-id': 'u2' }))
  t.match(answer, { status: 207, accepted: 3, errors: [{ index: 0, code: 'FST_FLAGS_FLAG_NOT_FOUND' }] })
  t.match(await report(app, [exposure('e6', 'u4', 'compact', { flag: 'shown' })], {}, bearer(browser)), { accepted: 0, errors: [{ code: 'FST_FLAGS_FORBIDDEN' }] })
  t.match(await report(app, [exposure('e7', 'u5', 'compact')], {}, bearer(limited)), { accepted: 1 })
  t.match(await report(app, [exposure('e8', 'u5', 'compact')], { environment: 'production' }, bearer(limited)), { accepted: 0, errors: [{ code: 'FST_FLAGS_FORBIDDEN' }] })
  const [pricing, shown, staging] = [await counts(app, 'pricing'), await counts(app, 'shown'), await counts(app, 'pricing', 'staging')]
  t.strictSame([units(pricing), units(shown), units(staging)], [1, 2, 1])
  t.strictSame([pricing.variants.compact!.goals, shown.variants.compact!.goals.purchase!.conversions], [{}, 1])
  t.equal(pricing.ignored.unexposed, 0, 'of other flags a browser reports nothing')
})

t.test('when too many events wait a batch is refused whole, to be sent again', async (t) => {
  const app = await build(t, { store: 'memory' })
  await app.register(evaluationRoutes, { identity: 'caller' })
  t.intercept(recorderOf(app), 'hasRoomFor', { value: () => false })
  const response = await app.inject({ method: 'POST', url: '/flags/events', payload: { events: [exposure('e1', 'u1', 'compact')] } })
  t.match([response.statusCode, response.headers['retry-after'], response.json().code], [503, '1', 'FST_FLAGS_EVENTS_FULL'])
})

t.test('GET /admin/flags/:key/experiment tells what was counted, for days and environments asked for', async (t) => {
  const app = await build(t, { store: 'memory', admin: { authorize: () => 'alice' } }, { staged: { environments: { staging: { enabled: true, serve: { percentage: 50 }, experiment: {} } } } })
  const get = async (path: string) => {
    const response = await app.inject(`/admin/flags/${path}`)
    return { status: response.statusCode, ...response.json() }
  }
  const variant = app.flags.for('u1').getVariant('pricing', '')
  app.flags.for('u1').track('purchase', { value: 3 })
  app.flags.for('u1', {}, { environment: 'staging' }).isEnabled('staged')
  const today = new Date().toISOString().slice(0, 10)
  const report = await get('pricing/experiment')
  t.match(report, { status: 200, key: 'pricing', environment: 'production', control: 'control', since: /^\d{4}-.*Z$/, shares: { compact: 0.5, control: 0.5 }, process: { waiting: 0, dropped: 0 }, days: [{ variants: { [variant]: { units: 1 } } }] })
  t.match(report.variants[variant], { units: 1, exposures: 1, switched: 0, goals: { purchase: { conversions: 1, sum: 3, squares: 9, rate: 1, mean: 3 } } })
  t.match(report, { effect: 0.1, warnings: [], sampleRatio: { isSuspect: false, expected: { compact: 0.5, control: 0.5 } }, variants: { compact: { goals: { purchase: { against: { rate: { pValue: null } } } } } } })
  t.match(await get('pricing/experiment?effect=-.5'), { effect: -0.5 })
  t.match(await get(`pricing/experiment?from=${today}`), { from: today, variants: { [variant]: { units: 1 } } })
  t.match(await get('pricing/experiment?to=2020-01-01'), { to: '2020-01-01', variants: { [variant]: { units: 0 } } })
  t.match(await get('staged/environments/staging/experiment'), { environment: 'staging', control: 'off', variants: { on: {}, off: {} } })
  t.match(await get('staged/experiment'), { status: 404, code: 'FST_FLAGS_EXPERIMENT_NOT_FOUND', message: /environment production/ })
  t.match(await get('plain/experiment'), { status: 404, code: 'FST_FLAGS_EXPERIMENT_NOT_FOUND' })
  t.match(await get('nope/experiment'), { status: 404, code: 'FST_FLAGS_FLAG_NOT_FOUND' })
  for (const query of ['from=yesterday', 'from=2026-02-30', 'to=2026-11-20T00:00:00Z', 'from=2026-11-21&to=2026-11-20', 'days=3', 'effect=0', 'effect=-1', 'effect=5%', 'effect=', 'effect=101']) t.match(await get(`pricing/experiment?${query}`), { status: 400, code: 'FST_FLAGS_INVALID_REQUEST' }, query)
})

t.test('a flag that is changed keeps its counts, another iteration begins anew', async (t) => {
  const app = await build(t)
  app.flags.for('u1').getVariant('pricing')
  await app.flags.admin.patch('pricing', { description: 'layout of the pricing page' })
  app.flags.for('u2').getVariant('pricing')
  t.equal(units(await counts(app, 'pricing')), 2)
  await app.flags.admin.patch('pricing', { experiment: { iteration: 2 } })
  app.flags.for('u1').getVariant('pricing')
  t.equal(units(await counts(app, 'pricing')), 1)
})

t.test('processes that share a Redis count together, a unit once', async (t) => {
  const { url, namespace } = await startRedis(t)
  const first = await build(t, { redis: url, namespace })
  const second = Fastify()
  t.teardown(() => second.close())
  await second.register(flags, { redis: url, namespace })
  await until(() => second.flags.status === 'READY')
  const variant = first.flags.for('u1').getVariant('pricing', '')
  second.flags.for('u1').getVariant('pricing')
  second.flags.for('u1').track('purchase')
  first.flags.for('u1').track('purchase')
  const both = [recorderOf(first), recorderOf(second)]
  await Promise.all(both.map((one) => one.flush())) // exposures first
  while (both.some(({ waiting }) => waiting > 0)) await Promise.all(both.map((one) => one.flush(true)))
  t.match((await counts(second, 'pricing')).variants[variant], { units: 1, exposures: 2, goals: { purchase: { conversions: 1 } } })
})

t.test('beside a file of flags the counts survive a restart', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'fastify-flags-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const options: FlagsOptions = { store: { file: join(folder, 'flags.json') } }
  const app = await build(t, options)
  const variant = app.flags.for('u1').getVariant('pricing', '')
  app.flags.for('u1').track('purchase')
  await app.close()
  const again = Fastify()
  t.teardown(() => again.close())
  await again.register(flags, options)
  again.flags.for('u1').getVariant('pricing')
  t.match((await counts(again, 'pricing')).variants[variant], { units: 1, exposures: 2, goals: { purchase: { conversions: 1 } } })
})

t.test('each time that events can no longer be recorded is told, though the reason is the same', async (t) => {
  const folder = makeFolder(t)
  const app = await build(t, { store: { file: join(folder, 'flags.json') } })
  const problems: FlagsError[] = []
  app.flags.on('problem', (problem) => { problems.push(problem) })
  const counted = join(folder, 'flags.json.experiments')
  const read = async (user: string) => {
    app.flags.for(user).getVariant('pricing')
    await recorderOf(app).flush()
  }
  await read('u0')
  for (const outage of [1, 2]) {
    await rename(counted, counted + '.aside')
    await mkdir(counted) // nothing can be appended to a folder
    await read(`u${outage}`)
    await read('u3')
    t.equal(problems.length, outage)
    await rmdir(counted)
    await rename(counted + '.aside', counted)
    await recorderOf(app).flush()
    t.equal(recorderOf(app).waiting, 0)
  }
  t.strictSame(problems.map(({ code }) => code), ['FST_FLAGS_EVENTS_WAITING', 'FST_FLAGS_EVENTS_WAITING'])
  t.equal(problems[0]!.message, problems[1]!.message)
})

t.test('that one experiment can be recorded does not end the outage of another', async (t) => {
  const ledger = new Faulty()
  const problems: FlagsError[] = []
  const recorder = new Recorder({ ledger, environment: 'production', now: Date.now, report: (problem) => { problems.push(problem) } })
  t.teardown(() => recorder.close())
  const well = someExperiment()
  const down = { ...someExperiment(), id: 'down' }
  const record = ledger.record.bind(ledger)
  ledger.record = async (batch) => {
    if (batch.experiment.id === 'down') throw new Error('no answer')
    await record(batch)
  }
  for (const unit of ['u1', 'u2', 'u3']) {
    for (const experiment of [down, well]) recorder.exposed(experiment, { unit, variant: 'a', time: Date.now() })
    await recorder.flush()
  }
  t.equal((await ledger.read(well)).variants.a!.units, 3)
  t.equal(problems.length, 1)
  ledger.record = record
})

t.test('whoever makes up environments gets no more than 32 counted', async (t) => {
  const app = await build(t)
  await app.register(evaluationRoutes, { identity: 'caller' })
  for (let i = 0; i < 100; i++) await app.inject(`/flags/pricing/evaluate?user=u1&environment=e${i}`)
  const { status, errors } = await report(app, [exposure('x', 'u1', 'compact')], { environment: 'e99' })
  t.match([status, errors], [207, [{ code: 'FST_FLAGS_EVENT_REFUSED' }]])
  await app.inject('/flags/pricing/evaluate?user=u1')
  t.strictSame([units(await counts(app, 'pricing', 'e0')), units(await counts(app, 'pricing', 'e99')), units(await counts(app, 'pricing'))], [1, 0, 1])
})

t.test('while Redis cannot be reached, or its answers are lost, nothing waits for it, and in the end everything is counted once', async (t) => {
  const { url, namespace } = await startRedis(t)
  const way = await road(t, url)
  const problems: FlagsError[] = []
  const ledger = patient(new RedisLedger({ redis: way.url, namespace }))
  t.teardown(() => ledger.close())
  const counting = new RedisLedger({ redis: way.url, namespace })
  t.teardown(() => counting.close())
  const recorder = new Recorder({ ledger: counting, environment: 'production', now: Date.now, report: (problem) => { problems.push(problem) } })
  const experiment = someExperiment()
  const expose = (name: string) => {
    for (let i = 0; i < 500; i++) recorder.exposed(experiment, { unit: `${name}-${i}`, variant: 'a', time: Date.now(), id: `${name}-${i}` })
  }
  expose('before')
  while (recorder.waiting > 0) await recorder.flush()
  way.state.muteAnswers = true // what is sent arrives
  expose('unanswered')
  await recorder.flush()
  way.state.closed = true
  way.cut()
  expose('cut off')
  await recorder.flush()
  t.equal(recorder.waiting, 1000)
  way.state.muteAnswers = way.state.closed = false
  expose('after')
  while (recorder.waiting > 0) await pause(20)
  t.match((await ledger.read(experiment)).variants.a, { units: 2000, exposures: 2000 })
  t.ok(problems.length > 0 && problems.every(({ code }) => code === 'FST_FLAGS_EVENTS_WAITING'))
  await recorder.close()
})
