import fc from 'fast-check'
import t from 'tap'
import { Admin } from '../src/admin.js'
import { noteEnough, stopRollout } from '../src/admin/guarded.js'
import { moveRollout, rolloutOf } from '../src/admin/rollouts.js'
import { Writer } from '../src/admin/writer.js'
import { beginningsOfFlag } from '../src/evaluation/boundaries.js'
import type { Outcome } from '../src/evaluation/details.js'
import { explain } from '../src/evaluation/explain.js'
import { moves } from '../src/evaluation/moves.js'
import { FlagEntry, Snapshot } from '../src/evaluation/snapshot.js'
import { FastifyFlags } from '../src/facade.js'
import { checkFlag } from '../src/model/check.js'
import type { Flag } from '../src/model/flag.js'
import { guardedServesOf, isCompared, type Alarm, type Guard, type GuardedRollout } from '../src/model/guard.js'
import type { Draw, RolloutState, Stage, Staged } from '../src/model/serve.js'
import { beginningsOf, caughtUp, settleRollouts, stageAt } from '../src/model/stages.js'
import { Replica } from '../src/replica.js'
import { StageAnnouncer } from '../src/replica/announce-stages.js'
import { MemoryStore } from '../src/store/memory.js'
import { startAdmin } from './helpers/admin.js'
import { evaluate, subjectOf } from './helpers/evaluate.js'

const hour = 3_600_000
const start = Date.parse('2026-01-01T00:00:00Z')
const at = (hours: number) => new Date(start + hours * hour).toISOString()

const nobody = { flag: () => undefined, segment: () => undefined, layer: () => [] }
const faultsOf = (serve: unknown, more: Flag = {}) => {
  const checked = checkFlag('f', { enabled: true, ...more, serve }, nobody)
  return 'details' in checked ? checked.details.map(({ path, message }) => `${path} ${message}`) : []
}

t.test('a guard without stages, without anything to watch or anything to compare is refused, and it is said what to do', async (t) => {
  const stages = [{ percentage: 5 }, { percentage: 100 }]
  const guard = { errors: {} }
  t.same(faultsOf({ stages, guard }), [])
  t.same(faultsOf({ stages, guard: { latency: { overMs: 500, atMost: 2 }, goal: { name: 'purchase' }, minimum: 50, action: 'pause' } }), [])
  t.match(faultsOf({ stages, guard: {} }), [/^\/serve\/guard must say what it watches: give it "errors": \{\}/])
  t.match(faultsOf({ guard }), [/^\/serve\/guard needs "stages" beside it: /])
  t.match(faultsOf({ percentage: 25, guard }), [/^\/serve\/guard needs "stages" beside it, not a "percentage": .*"percentage": 25, "hours": 24/])
  t.match(faultsOf({ stages: [{ percentage: 0, groups: ['internal'] }, { percentage: 100 }], guard }), [/^\/serve\/guard has nobody to compare: /])
  t.match(faultsOf({ stages, guard, variant: 'off' }), [/^\/serve\/guard has nothing to compare: those who are in are served "off" as all others are/])
  t.match(faultsOf({ stages, guard, variant: 'b', otherwise: 'b' }, { variants: ['a', 'b'] }), [/has nothing to compare/])
  t.same(faultsOf({ stages, guard, split: { a: 1, b: 1 } }, { variants: ['a', 'b'] }), [])
  t.match(faultsOf({ stages, guard: { errors: { atMost: 0.5 } } }), [/^\/serve\/guard\/errors\/atMost must be how many times as many/])
  t.match(faultsOf({ stages, guard: { latency: {} } }), [/^\/serve\/guard\/latency\/overMs is missing/])
  t.match(faultsOf({ stages, guard: { errors: {}, minimum: 0 } }), [/^\/serve\/guard\/minimum must be a whole number/])
  t.match(faultsOf({ stages, guard: { errors: {}, action: 'stop' } }), [/^\/serve\/guard\/action must be "rollback" \(left out\) or "pause"/])
  t.match(faultsOf({ stages, guard: { goal: { name: '' } } }), [/^\/serve\/guard\/goal\/name/])
  t.match(faultsOf({ stages, guard: { error: {} } }), [/^\/serve\/guard\/error is not a field known here; did you mean "errors"\?/])
})

const guard: Guard = { errors: {}, goal: { name: 'purchase' } }
const stages = [{ percentage: 0, groups: ['staff'] }, { percentage: 50 }, { percentage: 100 }]
const served = (stage: number, more: Draw = {}): Draw => ({ stages, guard, state: { stage, since: at(0), guardedSince: at(0) }, ...more })

/** What a hundred users are answered. */
const answers = (flag: Flag, context: object = {}) => Array.from({ length: 100 }, (_, i) => evaluate(flag, { targetingKey: `u${i}`, ...context }, { now: start }))
const armsOf = (outcomes: Outcome[]) => [...new Set(outcomes.map(({ counted }) => counted?.arm))]
const causesOf = (outcomes: Outcome[]) => [...new Set(outcomes.map(({ details }) => details.flagMetadata.cause))].sort()

t.test('whoever chance draws in a guarded rollout is on one side of it, whoever is named or where all are alike on none', async (t) => {
  const flag: Flag = { enabled: true, serve: served(1), targets: [{ users: ['named'] }] }
  for (const outcome of answers(flag)) {
    const { arm } = outcome.counted!
    t.match(arm, { stage: 1, treated: outcome.details.flagMetadata.cause === 'rollout-hit', rollout: { flag: 'flag', environment: undefined, rule: undefined, guard } })
    t.match(arm!.trial, { variant: arm!.treated ? 'treated' : 'control', experiment: { flag: 'flag', environment: '', control: 'control', shares: { control: 0.5, treated: 0.5 } } })
    t.equal(outcome.counted!.trial, undefined)
  }
  t.equal(armsOf(answers({ enabled: true, serve: served(1, { guard: { errors: {} } }) })).filter((arm) => arm!.trial === undefined).length, 100, 'without a goal nobody counts who')
  t.same(armsOf(answers(flag, { groups: ['staff'] })), [undefined], 'groups')
  t.same(armsOf(answers(flag, { targetingKey: 'named' })), [undefined], 'targets')
  t.same(armsOf(answers(flag, { targetingKey: '' })), [undefined], 'nobody to draw')
  for (const stage of [0, 2]) t.same(armsOf(answers({ enabled: true, serve: served(stage) })), [undefined], 'all or nobody')
  t.same(armsOf(answers({ enabled: true, serve: served(1, { guard: undefined }) })), [undefined], 'without a guard')
})

t.test('beside a split whoever takes part is in, and an experiment counts as it did', async (t) => {
  const flag: Flag = { variants: ['a', 'b', 'c'], enabled: true, serve: served(1, { split: { a: 1, b: 1 }, otherwise: 'c' }), experiment: {} }
  const outcomes = answers(flag)
  t.same(causesOf(outcomes), ['rollout-miss', 'split'])
  for (const { counted, details } of outcomes) {
    t.equal(counted!.arm!.treated, details.flagMetadata.cause === 'split')
    t.equal(counted!.trial?.variant, details.flagMetadata.cause === 'split' ? details.variant : undefined)
  }
  t.match(answers(flag, { groups: ['staff'] })[0]!.counted, { arm: undefined, trial: { experiment: { flag: 'flag' } } })
})

t.test('whom a layer leaves to another experiment is on no side', async (t) => {
  const flag: Flag = { enabled: true, serve: served(1), experiment: { layer: 'l' } }
  const other: Flag = { enabled: true, serve: { percentage: 50 }, experiment: { layer: 'l' } }
  const outcomes = Array.from({ length: 100 }, (_, i) => evaluate(flag, { targetingKey: `u${i}` }, { now: start, flags: { other } }))
  t.same(causesOf(outcomes), ['layer-miss', 'rollout-hit', 'rollout-miss'])
  for (const { counted, details } of outcomes) t.equal(counted?.arm === undefined, details.flagMetadata.cause === 'layer-miss')
})

t.test('the guarded rollouts of a flag are those that its answers are of', async (t) => {
  const when = { attribute: 'plan', operator: 'eq', value: 'pro' } as const
  const settings = { enabled: true, serve: served(1), rules: [{ when, serve: served(1) }, { name: 'more', when, serve: served(1, { seed: 's' }) }] }
  const flag: Flag = { environments: { production: settings, staging: { enabled: true } } }
  const known = guardedServesOf('flag', flag, 'production')
  t.same(known.map(({ rollout: { rule, environment } }) => [rule, environment]), [[undefined, 'production'], ['0', 'production'], ['more', 'production']])
  t.equal(new Set(known.map(({ rollout: { id } }) => id)).size, 3)
  t.equal(answers(flag)[0]!.counted!.arm!.rollout.id, known[0]!.rollout.id)
  t.equal(answers(flag, { plan: 'pro' })[0]!.counted!.arm!.rollout.id, known[1]!.rollout.id)
  t.same(guardedServesOf('flag', flag, 'staging'), [])
  t.same(guardedServesOf('flag', flag, 'elsewhere'), [])
  const plain: Flag = { enabled: true, serve: served(1) }
  t.equal(evaluate(plain, { targetingKey: 'u1' }, { now: start, environment: 'elsewhere' }).counted!.arm!.rollout.id, guardedServesOf('flag', plain, 'production')[0]!.rollout.id, 'one for all environments')
  const again = guardedServesOf('flag', { enabled: true, serve: served(1, { state: { stage: 1, since: at(0), guardedSince: at(1) } }) }, '')
  t.not(again[0]!.rollout.id, guardedServesOf('flag', plain, '')[0]!.rollout.id, 'a guard that began anew counts anew')
  t.same([flag, plain, { enabled: true, serve: served(1, { guard: undefined }) }].map((flag) => new FlagEntry('flag', flag, { version: 1, time: 0, by: null }).outline.isGuarded), [true, true, false])
})

const hourly: Stage[] = [{ percentage: 0, groups: ['staff'], hours: 1 }, { percentage: 5, hours: 2 }, { percentage: 25, hours: 3 }, { percentage: 50 }, { percentage: 100 }]
const alarm: Alarm = { metric: 'errors', stage: 2, at: at(0), chance: 0.001, control: { count: 3, of: 1180 }, treated: { count: 24, of: 1200 } }

/** A guarded rollout that began at the start, moved on as people and its guard would. */
function rollout (stages: Stage[], more: Draw = { guard: { errors: {} } }) {
  let flag = settleRollouts(undefined, { enabled: true, serve: { stages, ...more } }, start)
  const draw = () => flag.serve as Staged & { state: RolloutState }
  const settle = (next: Flag, hours: number) => { flag = settleRollouts(flag, next, start + hours * hour) }
  const keep = (next: Flag, hours: number) => { flag = settleRollouts(next, next, start + hours * hour) }
  return {
    draw,
    state: () => draw().state,
    stage: (hours: number) => stageAt(draw(), start + hours * hour),
    look: (hours: number) => rolloutOf('a', flag, {}, start + hours * hour),
    flag: () => flag,
    explained: (hours: number) => explain(new FlagEntry('a', flag, { version: 1, time: 0, by: null }), subjectOf({}, { targetingKey: 'u1' }, { now: start + hours * hour })).steps.map((step) => 'serve' in step ? step.serve?.stages : undefined).find((stages) => stages !== undefined),
    enough: (hours: number) => keep({ ...flag, serve: { ...draw(), state: { ...caughtUp(draw(), draw().state, start + hours * hour), enoughAt: at(hours) } } }, hours),
    alarm: () => { flag = { ...flag, serve: { ...draw(), state: { ...draw().state, alarm } } } },
    move: (move: typeof moves[number], hours: number, from?: number) => keep(moveRollout('a', flag, move, { from }, start + hours * hour), hours),
    enable: (enabled: boolean, hours: number) => settle({ ...flag, enabled }, hours),
    serve: (more: Draw, hours: number) => settle({ ...flag, serve: { ...draw(), ...more } }, hours)
  }
}

t.test('the clock leaves a stage when its time is over and its guard has seen enough of it, whichever comes last', async (t) => {
  const { stage, state, enough, look, explained } = rollout(hourly)
  t.same([0, 1, 2.9, 3, 100].map(stage), [0, 1, 1, 1, 1], 'nobody is compared at 0 %')
  t.match(look(2), { status: 'waiting', next: { stage: 2, at: null }, guard: { minimum: 200, enough: false }, why: `its guard has not yet seen 200 requests of those who are in at this stage; when it has, the next one begins, not before ${at(3)}` })
  t.match(look(3), { why: /when it has, the next one begins$/ })
  enough(2)
  t.same(state(), { stage: 1, since: at(1), guardedSince: at(0), enoughAt: at(2) })
  t.match(look(2), { status: 'running', next: { stage: 2, at: at(3) }, guard: { enough: true } })
  t.same([2.9, 3, 6, 100].map(stage), [1, 2, 2, 2], 'enough before the time')
  t.match(look(3), { since: at(3), guard: { enough: false } }, 'that was another stage')
  t.match(explained(2.9), { stage: 1, next: at(3), heldBack: undefined })
  t.match(explained(3), { stage: 2, since: at(3), next: undefined, heldBack: true })
  enough(10)
  t.same([9, 10, 100].map(stage), [2, 3, 3], 'enough after it')
  t.match(look(10), { stage: 3, since: at(10), why: /a person advances it/ })
  t.match(explained(10), { stage: 3, heldBack: undefined }, 'nothing that its guard sees brings the next one')
})

t.test('advancing goes on counting, also by hand; resuming, rolling back and enabling again begin to count anew', async (t) => {
  const { stage, state, enough, move, enable } = rollout(hourly)
  move('advance', 0.5)
  enough(1.5)
  move('advance', 2)
  t.same(state(), { stage: 2, since: at(2), guardedSince: at(0) })
  move('rollback', 4)
  t.same(state(), { stage: 1, since: at(4), pausedAt: at(4), guardedSince: at(4) })
  move('resume', 5)
  t.same(state(), { stage: 1, since: at(5), guardedSince: at(5) })
  enough(6)
  move('pause', 6.5)
  t.equal(state().guardedSince, at(5))
  move('resume', 20)
  t.same(state(), { stage: 1, since: at(18.5), guardedSince: at(20) }, 'its time goes on, what was seen does not')
  t.equal(stage(100), 1)
  enable(false, 30)
  t.equal(state().guardedSince, at(20))
  enable(true, 31)
  t.same(state(), { stage: 1, since: at(19.5), guardedSince: at(31) })
})

t.test('a time that comes while a guarded rollout stands does not begin a stage before its guard has seen enough', async (t) => {
  const { stage, move, enough } = rollout([{ percentage: 5 }, { percentage: 25, at: at(10) }])
  enough(1)
  move('pause', 5)
  move('resume', 20)
  t.equal(stage(20), 0)
  enough(21)
  t.equal(stage(21), 1)
})

t.test('another guard, or another thing that is drawn, begins to count anew at the stage that was reached', async (t) => {
  for (const more of [{ guard: { latency: { overMs: 5 } } }, { seed: 'x' }, { by: 'company' }, { variant: 'off', otherwise: 'on' }] as Draw[]) {
    const { stage, state, enough, serve } = rollout(hourly)
    enough(2)
    serve(more, 5)
    t.same(state(), { stage: 2, since: at(3), guardedSince: at(5) })
    t.equal(stage(100), 2)
  }
  const { state, stage, serve } = rollout(hourly, {})
  serve({ guard: { errors: {} } }, 4)
  t.same(state(), { stage: 2, since: at(3), guardedSince: at(4) }, 'one that is new')
  serve({ stages: hourly.slice(1) }, 8)
  t.same(state(), { stage: 0, since: at(8), guardedSince: at(8) }, 'other stages')
  t.equal(stage(100), 0)
})

t.test('a rollout that loses its guard goes on from its stage: what was held back begins then, and no more', async (t) => {
  const held = rollout(hourly)
  held.serve({ guard: undefined }, 20)
  t.same([20, 22.9, 23].map(held.stage), [2, 2, 3])
  const early = rollout(hourly)
  early.serve({ guard: undefined }, 2)
  t.same([2, 2.9, 3].map(early.stage), [1, 1, 2])
  const paused = rollout(hourly)
  paused.move('pause', 20)
  paused.serve({ guard: undefined }, 30)
  t.equal(paused.stage(30), 1)
  paused.move('resume', 40)
  t.same([40, 42.9, 43].map(paused.stage), [2, 2, 3])
})

t.test('an alarm stays until somebody advances or resumes', async (t) => {
  const stopped = () => {
    const one = rollout(hourly)
    one.move('advance', 1)
    one.alarm()
    one.move('rollback', 2)
    return one
  }
  const { look, state, move, enable } = stopped()
  t.match(look(3), { status: 'paused', alarm, why: /; its guard stopped it at 25 %: 24 of 1200 requests failed with it, and 3 of 1180 without it$/ })
  enable(false, 3)
  enable(true, 4)
  t.same(state().alarm, alarm, 'it is still paused')
  move('pause', 5)
  t.same(state().alarm, alarm)
  move('resume', 6)
  t.notOk('alarm' in state())
  for (const how of ['advance', 'resume'] as const) {
    const { move, state, stage } = stopped()
    if (how === 'advance') t.throws(() => move('advance', 3), { code: 'FST_FLAGS_ROLLOUT_CONFLICT', message: 'Flag a does not advance: its guard stopped it at 25 %: 24 of 1200 requests failed with it, and 3 of 1180 without it; resume it first, or say with "from": 1 that this is known' })
    move(how, 3, how === 'advance' ? stage(3) : undefined)
    t.notOk('alarm' in state(), how)
  }
  const disabled = stopped()
  disabled.enable(false, 3)
  disabled.move('resume', 4)
  t.notOk('alarm' in disabled.state())
})

const anyStages = fc.array(fc.record({ rise: fc.constantFrom(0, 5, 25, 40), hours: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }), at: fc.option(fc.integer({ min: 0, max: 10 }), { nil: undefined }) }), { minLength: 1, maxLength: 6 })
  .map((stages) => {
    let [percentage, latest] = [0, 0]
    return stages.map(({ rise, hours, at: later }): Stage => {
      percentage = Math.min(100, percentage + rise)
      if (later !== undefined) latest += later
      return { percentage, ...hours !== undefined && { hours }, ...later !== undefined && { at: at(latest) } }
    })
  })
const anyStep = fc.record({ what: fc.constantFrom(...moves, 'enable', 'disable', 'enough', 'guard', 'unguard' as const), after: fc.integer({ min: 0, max: 6 }) })

t.test('whatever is done in whatever order, the clock leaves no stage that compares before its guard has seen enough of it', async () => {
  let left = 0
  fc.assert(fc.property(anyStages, fc.array(anyStep, { maxLength: 14 }), (stages, steps) => {
    const one = rollout(stages)
    let now = 0
    let guards = 0
    /** Whether enough was seen of the stage it stands at, since it stands there and its guard counts. */
    let enough = false
    for (const { what, after } of steps) {
      const before = one.stage(now)
      now += after
      const here = one.stage(now)
      const isGuarded = one.draw().guard !== undefined
      if (here > before && isGuarded) {
        stages.slice(Math.max(0, before), here).forEach((stage, index) => {
          if (!isCompared(stage)) return
          if (index > 0 || before < 0 || !enough) throw new Error(`left ${before} for ${here} by itself`)
          left++
        })
        enough = false
      } else if (here !== before && here < before) throw new Error('fell by itself')
      const { next } = one.look(now)
      if (next?.at != null && one.stage((Date.parse(next.at) - start) / hour) < next.stage) throw new Error('the next stage does not come when it is said to')

      const stands = one.state().pausedAt !== undefined || one.state().disabledAt !== undefined
      if (what === 'enough') {
        if (stands || here < 0) continue
        one.enough(now)
        enough = true
      } else if (what === 'enable' || what === 'disable') {
        one.enable(what === 'enable', now)
        if (what === 'enable' && stands) enough = false
      } else if (what === 'guard' || what === 'unguard') {
        one.serve({ guard: what === 'guard' ? { errors: {}, minimum: ++guards } : undefined }, now)
        enough = false
      } else {
        try {
          one.move(what, now)
          if (what !== 'pause') enough = what === 'resume' && !stands && enough
        } catch (error) {
          if ((error as { code?: string }).code !== 'FST_FLAGS_ROLLOUT_CONFLICT') throw error
        }
      }
      const then = one.stage(now)
      if (what === 'advance' || what === 'rollback') continue
      if (then < here || (then > here && isGuarded && one.draw().guard !== undefined && here >= 0 && isCompared(stages[here]!) && what !== 'enough')) throw new Error(`${what} moved from ${here} to ${then}`)
      if (then > here) enough = false
    }
  }), { numRuns: 1000 })
  t.ok(left > 0) // some 17, by chance
})

t.test('a guard brings no stage earlier than the clock does without it, and none later once it has seen enough', async () => {
  fc.assert(fc.property(anyStages, fc.nat(5), fc.integer({ min: 0, max: 30 }), fc.option(fc.integer({ min: 0, max: 40 }), { nil: undefined }), (stages, stage, since, seen) => {
    const state = { stage: stage % stages.length, since: at(since) }
    const free = beginningsOf({ stages, state })
    const held = beginningsOf({ stages, guard: { errors: {} }, state: { ...state, ...seen !== undefined && { enoughAt: at(since + seen) } } })
    const next = state.stage + 1
    if (next < stages.length && seen !== undefined && held[next] !== Math.max(free[next]!, start + (since + seen) * hour)) return false
    return held.every((time, index) => time >= free[index]!)
  }))
})

t.test('a stage that its guard brings late is announced, once', async (t) => {
  const begun: Array<[number, boolean]> = []
  let hours = 0
  const one = rollout(hourly)
  const entry = () => new Map([['a', new FlagEntry('a', one.flag(), { version: 1, time: 0, by: null })]])
  let snapshot = Snapshot.empty().with(entry(), new Map())
  const announcer = new StageAnnouncer({ status: 'READY', get snapshot () { return snapshot }, now: () => start + hours * hour }, ({ stage, heldBack = false }) => { begun.push([stage, heldBack]) })
  t.teardown(() => announcer.close())
  const look = (at: number) => {
    hours = at
    announcer.look()
    return begun.splice(0)
  }
  t.same([look(0), look(1), look(5)], [[], [[1, false]], []])
  one.enough(5)
  snapshot = snapshot.with(entry(), new Map())
  t.same([look(5.001), look(5.002)], [[[2, true]], []])
  t.same(beginningsOfFlag('a', one.flag()).map(({ stage, at }) => [stage, (at - start) / hour]), [[2, 5]])
  one.enough(6)
  snapshot = snapshot.with(entry(), new Map())
  t.same([look(6), look(8)], [[], [[3, false]]], 'one that its guard did not hold back comes by the clock')
})

t.test('a guard stops its rollout, or lets the clock go on, by one write in its own name, and only while the same run stands at that stage', async (t) => {
  const replica = new Replica({ store: new MemoryStore() })
  t.teardown(() => replica.close())
  await replica.start()
  const [admin, writer, now] = [new Admin(replica), new Writer(replica), () => replica.now()]
  const stop = async (rollout: GuardedRollout, stage: number) => await stopRollout(writer, rollout, stage, { ...alarm, stage }, now)
  const enough = async (rollout: GuardedRollout, stage: number) => await noteEnough(writer, rollout, stage, now)
  const known = (key: string, environment = '') => guardedServesOf(key, admin.get(key), environment).map(({ rollout }) => rollout)
  const stages = [{ percentage: 5, hours: 1 }, { percentage: 25, hours: 1 }, { percentage: 100 }]

  await admin.put('a', { enabled: true, serve: { stages, guard: { errors: {}, minimum: 50 } } })
  await admin.advance('a', { by: 'alice' })
  const [first] = known('a')
  t.same([await stop(first!, 0), await enough(first!, 0)], [false, false], 'another stage')
  t.same([await enough(first!, 1), await enough(first!, 1)], [true, false])
  t.match(await admin.rollout('a'), { status: 'running', guard: { minimum: 50, enough: true }, moved: { action: 'advance', updatedBy: 'alice' }, version: 3 })
  t.same([await stop(first!, 1), await stop(first!, 1)], [true, false])
  t.match(await admin.rollout('a'), { status: 'paused', stage: 0, alarm: { ...alarm, stage: 1 }, moved: { action: 'rollback', updatedBy: 'guard' }, version: 4 })
  t.same([await stop(first!, 0), await enough(first!, 0)], [false, false], 'it stands')
  await admin.resume('a')
  t.same([await stop(first!, 0), await enough(first!, 0)], [false, false], 'it counts anew')
  const [second] = known('a')
  t.equal(await stop(second!, 0), true)
  t.match(await admin.rollout('a'), { status: 'disabled', stage: 0, alarm: { stage: 0 }, moved: { action: 'disable', updatedBy: 'guard' }, why: /until a person enables it.*; its guard stopped it at 5 %: / })
  t.match(admin.get('a'), { enabled: false })
  await admin.enable('a')
  t.notOk('alarm' in await admin.rollout('a'))
  t.not(known('a')[0]!.id, second!.id)
  await admin.delete('a')
  t.same([await stop(second!, 0), await enough(second!, 0)], [false, false], 'it is gone')

  for (const stand of ['pause', 'disable'] as const) {
    await admin.put(stand, { enabled: true, serve: { stages, guard: { errors: {} } } })
    const [run] = known(stand)
    await admin[stand](stand)
    t.equal(known(stand)[0]!.id, run!.id)
    t.same([await stop(run!, 0), await enough(run!, 0)], [false, false], stand)
  }

  const when = { attribute: 'plan', operator: 'eq', value: 'pro' } as const
  await admin.put('b', { environments: { production: { enabled: true, serve: 'off', rules: [{ when, serve: 'on' }, { when, serve: { stages, guard: { goal: { name: 'purchase' }, action: 'pause' } } }] }, staging: { enabled: true } } })
  const [ruled] = known('b', 'production')
  t.match(ruled, { environment: 'production', rule: '1' })
  t.equal(await stop(ruled!, 0), true)
  t.match(await admin.rollout('b', { environment: 'production', rule: 1 }), { status: 'paused', stage: 0, alarm: {}, moved: { action: 'pause', updatedBy: 'guard' }, why: /: 24 of 1200 / })
  t.match(admin.get('b').environments, { production: { enabled: true }, staging: { enabled: true } })
})

t.test('a guarded rollout is told of at every stage, before its first and at its last too', async (t) => {
  const { ask, app } = await startAdmin(t)
  const guard = { minimum: 3, errors: {}, latency: { overMs: 500 }, goal: { name: 'purchase' } }
  await ask('PUT', '/flags/a', { body: { enabled: true, serve: { stages: [{ percentage: 5, at: '2100-01-01T00:00:00Z' }, { percentage: 25 }, { percentage: 100 }], guard } } })
  const { guard: before, ...soon } = (await ask('GET', '/flags/a/rollout')).body
  t.match(soon, { stage: -1, status: 'running', next: { stage: 0, at: '2100-01-01T00:00:00.000Z' } })
  t.same(before, { minimum: 3, enough: true }, 'there is nobody to see')
  for (const stage of [0, 1, 2]) {
    await ask('POST', '/flags/a/rollout/advance', { body: { from: stage - 1 } })
    t.match(await ask('GET', '/flags/a/rollout'), { status: 200, body: { stage, guard: { minimum: 3, enough: stage === 2, metrics: { errors: {}, latency: {}, goal: {} } } } })
    if (stage !== 1) continue
    const arms = Array.from({ length: 100 }, (_, i) => app.flags.for(`u${i}`)).map((flags) => flags.snapshot.flag('a')!.evaluate(flags).counted!.arm!)
    for (const arm of arms) FastifyFlags.countingOf(app.flags).guards.count([arm], false, 1)
    t.match(await ask('GET', '/flags/a/rollout'), { body: { guard: { enough: true } } }, 'enough is enough, also where no clock waits for it')
  }
})
