import { setTimeout as pause } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { Counts } from '../src/experiments/counts.js'
import type { Batch, Ledger } from '../src/experiments/ledger.js'
import { MemoryLedger } from '../src/experiments/memory.js'
import { Recorder } from '../src/experiments/recorder.js'
import flags, { evaluationRoutes, type Flag, type FlagsError, type FlagsOptions } from '../src/index.js'
import { experimentOf } from '../src/model/experiment.js'
import { batchOf, someExperiment } from './helpers/ledger-contract.js'

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

async function counts (app: FastifyInstance, key: string, environment = 'production'): Promise<Counts> {
  return await app.flags.experiments.counts(experimentOf(key, app.flags.admin.get(key), environment)!)
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
  await app.flags.experiments.flush()
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
  const recorder = new Recorder({ ledger, now: Date.now, report: () => {} })
  recorder.exposed(experiment, { unit: 'u1', variant: 'a', time: Date.now() })
  await recorder.close()
  t.equal((await ledger.read(experiment)).variants.a!.units, 1)
  t.notOk(recorder.exposed(experiment, { unit: 'u2', variant: 'a', time: Date.now() }))
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
  close = this.inner.close.bind(this.inner)
}

t.test('what could not be recorded is kept, sent again as it was, and counted once though it had arrived', async (t) => {
  const ledger = new Faulty()
  const problems: FlagsError[] = []
  const recorder = new Recorder({ ledger, now: Date.now, report: (problem) => { problems.push(problem) } })
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
  const recorder = new Recorder({ ledger, now: Date.now, report: (problem) => { problems.push(problem) }, most: 5000 })
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
  const recorder = new Recorder({ ledger, now: Date.now, report: () => {} })
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
  const recorder = new Recorder({ ledger, now: Date.now, report: () => {} })
  t.teardown(() => recorder.close())
  recorder.exposed(someExperiment(), { unit: 'u1', variant: 'a', time: Date.now() })
  while (ledger.batches.length === 0) await pause(20)
  t.equal(recorder.waiting, 0)
})
