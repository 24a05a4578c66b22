import fc from 'fast-check'
import t from 'tap'
import { beginningsOfFlag, countUntil, latestBeginning, type Beginning } from '../src/evaluation/boundaries.js'
import { FlagEntry, Snapshot } from '../src/evaluation/snapshot.js'
import { settleRollouts, stageAt } from '../src/model/stages.js'
import type { Environment, Flag } from '../src/model/flag.js'
import type { Draw, RolloutState, Stage } from '../src/model/serve.js'
import { StageAnnouncer } from '../src/replica/announce-stages.js'

const hour = 3_600_000
const start = Date.parse('2026-01-01T00:00:00Z')
const iso = (time: number) => new Date(time).toISOString()
const at = (hours: number) => iso(start + hours * hour)
const stateOf = (settings: Environment) => (settings.serve as Draw).state!

const hourly: Stage[] = [{ percentage: 5, hours: 2 }, { percentage: 25, hours: 3 }, { percentage: 50 }, { percentage: 100 }]

t.test('stages last their hours, and one without waits for a person', async (t) => {
  const state = { stage: 0, since: at(0) }
  t.same([0, 1.999, 2, 4.999, 5, 1e6].map((hours) => stageAt({ stages: hourly, state }, start + hours * hour)), [0, 0, 1, 1, 2, 2])
  t.equal(stageAt({ stages: hourly, state: { stage: 3, since: at(0) } }, start), 3)
  t.equal(stageAt({ stages: hourly, state: { stage: 9, since: at(0) } }, start), 3, 'a stage beyond the last is the last')
})

t.test('a stage ends when the next one\'s time comes, hours or not', async (t) => {
  const stages: Stage[] = [{ percentage: 5, hours: 10 }, { percentage: 25, at: at(4), hours: 1 }, { percentage: 50 }, { percentage: 100, at: at(20) }]
  t.same([3, 4, 5, 19, 20].map((hours) => stageAt({ stages, state: { stage: 0, since: at(0) } }, start + hours * hour)), [0, 1, 2, 2, 3])
})

t.test('without state hours do not run, at does', async (t) => {
  t.equal(stageAt({ stages: hourly }, start + 1e6 * hour), 0)
  const stages: Stage[] = [{ percentage: 5, hours: 1 }, { percentage: 25, at: at(4), hours: 1 }, { percentage: 50 }]
  t.same([3, 4, 100].map((hours) => stageAt({ stages }, start + hours * hour)), [0, 1, 1])
})

t.test('a first stage with a time has not begun before it, unless a person began it', async (t) => {
  const stages: Stage[] = [{ percentage: 5, at: at(4), hours: 2 }, { percentage: 100 }]
  const { serve } = settleRollouts(undefined, { enabled: true, serve: { stages } }, start)
  const { state } = serve as Draw
  t.same(state, { stage: 0, since: at(4) })
  t.same([0, 3.9, 4, 5.9, 6].map((hours) => stageAt({ stages, state }, start + hours * hour)), [-1, -1, 0, 0, 1])
  t.same([3.9, 4].map((hours) => stageAt({ stages }, start + hours * hour)), [-1, 0])
  t.same([1, 2.9, 3].map((hours) => stageAt({ stages, state: { stage: 0, since: at(1) } }, start + hours * hour)), [0, 0, 1])
})

t.test('the clock stands while paused or disabled', async (t) => {
  for (const stand of [{ pausedAt: at(2.5) }, { disabledAt: at(2.5) }, { pausedAt: at(2.5), disabledAt: at(9) }]) {
    t.same([0, 2.5, 5, 1e6].map((hours) => stageAt({ stages: hourly, state: { stage: 0, since: at(0), ...stand } }, start + hours * hour)), [1, 1, 1, 1])
  }
})

const percentages = fc.array(fc.integer({ min: 0, max: 100 }), { minLength: 1, maxLength: 6 }).map((list) => list.sort((a, b) => a - b))
const hours = fc.option(fc.integer({ min: 1, max: 100 }), { nil: undefined })
const withHours: fc.Arbitrary<Stage[]> = percentages.chain((list) => fc.tuple(...list.map((percentage) => hours.map((hours) => ({ percentage, hours })))))
const withBoth: fc.Arbitrary<Stage[]> = withHours.chain((stages) => fc.tuple(...stages.map((stage) => hours.map((hours) => ({ ...stage, at: hours === undefined ? undefined : at(hours) })))))
const time = fc.integer({ min: 0, max: 500 * hour }).map((offset) => start + offset)

t.test('a stage never falls as time passes', async () => {
  fc.assert(fc.property(withBoth, fc.nat(6), time, time, time, (stages, stage, since, a, b) => {
    const state = { stage: stage % stages.length, since: iso(since) }
    const [earlier, later] = [Math.min(a, b), Math.max(a, b)]
    return stageAt({ stages, state }, earlier) <= stageAt({ stages, state }, later) && stageAt({ stages }, earlier) <= stageAt({ stages }, later)
  }))
})

t.test('being disabled for any time leaves what had passed unchanged', async (t) => {
  fc.assert(fc.property(withHours, time, time, time, time, (stages, began, ran, stood, later) => {
    const flag: Flag = { enabled: true, serve: { stages } }
    const running = settleRollouts(undefined, flag, began)
    const stopped = began + (ran - start)
    const disabled = settleRollouts(running, { ...flag, enabled: false }, stopped)
    const again = stopped + (stood - start)
    const enabled = settleRollouts(disabled, flag, again)
    const stage = (flag: Flag, now: number) => stageAt({ stages, state: stateOf(flag) }, now)
    const passed = later - start
    return stage(disabled, again) === stage(running, stopped) &&
      stage(enabled, again + passed) === stage(running, stopped + passed) &&
      stateOf(enabled).disabledAt === undefined
  }))
})

t.test('a time that comes while disabled begins its stage when enabled, and that stage\'s hours only then', async (t) => {
  const flag: Flag = { enabled: true, serve: { stages: [{ percentage: 5 }, { percentage: 25, at: at(10), hours: 3 }, { percentage: 50 }] } }
  const running = settleRollouts(undefined, flag, start)
  const disabled = settleRollouts(running, { ...flag, enabled: false }, start + 5 * hour)
  const enabled = settleRollouts(disabled, flag, start + 20 * hour)
  t.same(stateOf(enabled), { stage: 1, since: at(20) })
  const later = settleRollouts(disabled, flag, start + 9 * hour)
  t.same(stateOf(later), { stage: 0, since: at(4) })
})

t.test('a rollout that has not begun does not begin while disabled, and its time is not moved', async (t) => {
  const flag: Flag = { enabled: true, serve: { stages: [{ percentage: 5, at: at(10), hours: 1 }, { percentage: 25 }] } }
  const disabled = settleRollouts(undefined, { ...flag, enabled: false }, start)
  t.same(stateOf(disabled), { stage: 0, since: at(10), disabledAt: at(0) })
  t.same(stateOf(settleRollouts(disabled, flag, start + 5 * hour)), { stage: 0, since: at(10) })
  t.same(stateOf(settleRollouts(disabled, flag, start + 15 * hour)), { stage: 0, since: at(15) })
})

t.test('state is the server\'s: sent states are ignored, edits elsewhere keep it, changed stages begin anew', async (t) => {
  const sent: RolloutState = { stage: 3, since: at(-100) }
  const flag: Flag = { enabled: true, serve: { stages: hourly, state: sent }, rules: [{ name: 'a', when: { segment: 's' }, serve: { stages: hourly, state: sent } }] }
  const first = settleRollouts(undefined, flag, start)
  t.same(stateOf(first), { stage: 0, since: at(0) })
  t.same((first.rules![0]!.serve as Draw).state, { stage: 0, since: at(0) })
  t.same(stateOf(settleRollouts(first, { ...flag, description: 'x', serve: { stages: hourly, seed: 'x' } }, start + hour)), { stage: 0, since: at(0) })
  t.same(stateOf(settleRollouts(first, { ...flag, serve: { stages: hourly.slice(1) } }, start + hour)), { stage: 0, since: at(1) })
  t.same(settleRollouts(first, { ...flag, serve: { percentage: 5, state: sent } }, start + hour).serve, { percentage: 5 })
  t.same(settleRollouts(first, { ...flag, serve: 'on' }, start + hour).serve, 'on')
  t.same(flag.serve, { stages: hourly, state: sent }, 'what was given is left as it is')
})

t.test('a rule keeps its rollout by its name, else by its place', async (t) => {
  const rule = (name: string | undefined, serve: Draw = { stages: hourly }) => ({ ...(name !== undefined && { name }), when: { segment: 's' }, serve })
  const sinces = (names: Array<string | undefined>) => {
    const flag: Flag = { enabled: true, serve: 'off', rules: [rule('a'), rule('b'), rule(undefined)] }
    const first = settleRollouts(undefined, flag, start)
    const next = settleRollouts(first, { ...flag, rules: names.map((name) => rule(name)) }, start + hour)
    return next.rules!.map(({ serve }) => (serve as Draw).state!.since === at(0))
  }
  t.same(sinces(['b', 'a', undefined]), [true, true, true], 'moved')
  t.same(sinces(['renamed', 'b', undefined]), [true, true, true], 'renamed')
  t.same(sinces(['new', 'a', 'b', undefined]), [false, true, true, false], 'one before them')
})

t.test('each environment has its own clock, which its own switch and the flag\'s stop', async (t) => {
  const settings = { enabled: true, serve: { stages: hourly } }
  const flag: Flag = { environments: { staging: settings, production: { ...settings, enabled: false } } }
  const first = settleRollouts(undefined, flag, start)
  t.same(stateOf(first.environments!.staging!), { stage: 0, since: at(0) })
  t.same(stateOf(first.environments!.production!), { stage: 0, since: at(0), disabledAt: at(0) })
  const killed = settleRollouts(first, { ...flag, enabled: false }, start + hour)
  t.same(stateOf(killed.environments!.staging!), { stage: 0, since: at(0), disabledAt: at(1) })
  t.same(stateOf(killed.environments!.production!).disabledAt, at(0))
  const back = settleRollouts(killed, flag, start + 3 * hour)
  t.same(stateOf(back.environments!.staging!), { stage: 0, since: at(2) })
  const split = settleRollouts(settleRollouts(undefined, settings, start), flag, start + hour)
  t.same(stateOf(split.environments!.staging!), { stage: 0, since: at(0) }, 'what held for every environment goes on in each')
})

t.test('a paused rollout stays paused through a disabled time', async (t) => {
  const flag: Flag = { enabled: true, serve: { stages: hourly } }
  const paused: Flag = { enabled: true, serve: { stages: hourly, state: { stage: 0, since: at(0), pausedAt: at(1) } } }
  const disabled = settleRollouts(paused, { ...flag, enabled: false }, start + 5 * hour)
  t.same(stateOf(disabled), { stage: 0, since: at(0), pausedAt: at(1), disabledAt: at(1) })
  t.same(stateOf(settleRollouts(disabled, flag, start + 9 * hour)), { stage: 0, since: at(0), pausedAt: at(1) })
})

t.test('between two beginnings no flag stands at another stage, and at each one does', async (t) => {
  const state = fc.record({ stage: fc.nat(6), since: time.map(iso), pausedAt: fc.option(time.map(iso), { nil: undefined }) })
  let begun = 0
  fc.assert(fc.property(withBoth, fc.option(state, { nil: undefined }), time, time, (stages, given, a, b) => {
    const state = given && { ...given, stage: given.stage % stages.length }
    const beginnings = [...beginningsOfFlag('f', { enabled: true, serve: { stages, state } })].sort((a, b) => a.at - b.at)
    const [earlier, later] = [Math.min(a, b), Math.max(a, b)]
    const passed = beginnings.slice(countUntil(beginnings, earlier), countUntil(beginnings, later))
    begun += passed.length
    const rise = stageAt({ stages, state }, later) - stageAt({ stages, state }, earlier)
    return rise === passed.length && passed.every(({ stage, at }) => stageAt({ stages, state }, at) >= stage && stageAt({ stages, state }, at - 1) < stage)
  }), { numRuns: 1000 })
  t.ok(begun > 10)
})

const daily: Draw = { stages: [{ percentage: 5 }, { percentage: 25, at: at(24) }, { percentage: 100, at: at(48) }] }
const entry = (key: string, flag: Flag) => new FlagEntry(key, flag, { version: 1, time: 0, by: null })

t.test('beginnings are known by flag, environment and rule, and only where the flag is enabled', async (t) => {
  const when = { segment: 's' }
  t.same(beginningsOfFlag('f', { enabled: true, serve: 'off', rules: [{ when, serve: 'on' }, { when, serve: daily }, { name: 'beta', when, serve: daily }] }).map(({ rule, stage, at, environment }) => [rule, stage, at, environment]), [
    ['1', 1, start + 24 * hour, undefined], ['1', 2, start + 48 * hour, undefined], ['beta', 1, start + 24 * hour, undefined], ['beta', 2, start + 48 * hour, undefined]
  ])
  t.same(beginningsOfFlag('f', { environments: { staging: { enabled: true, serve: daily }, production: { serve: daily } } }).map(({ environment, stage }) => [environment, stage]), [['staging', 1], ['staging', 2]])
  t.same(beginningsOfFlag('f', { enabled: false, serve: daily }), [])
  t.same(beginningsOfFlag('f', { enabled: true, serve: { stages: hourly } }), [], 'without state hours do not run')
})

t.test('a snapshot keeps its list of beginnings until a change touches one', async (t) => {
  const first = Snapshot.empty().with(new Map([['a', entry('a', { enabled: true, serve: daily })], ['b', entry('b', { enabled: true })]]), new Map())
  const { beginnings } = first
  t.equal(beginnings.length, 2)
  t.equal(first.with(new Map([['b', undefined], ['c', entry('c', { enabled: false })]]), new Map()).beginnings, beginnings)
  const later: Draw = { stages: [{ percentage: 5 }, { percentage: 25, at: at(30) }] }
  const more = Snapshot.empty().with(new Map([['a', entry('a', { enabled: true, serve: daily })]]), new Map())
  t.equal(more.beginnings.length, 2)
  const next = more.with(new Map([['d', entry('d', { environments: { staging: { enabled: true, serve: later } } })]]), new Map())
  t.same(next.beginnings.map(({ flag, at }) => [flag, (at - start) / hour]), [['a', 24], ['d', 30], ['a', 48]])
  t.same([0, 24, 29, 30, 47, 48].map((hours) => (latestBeginning(next.beginnings, 'staging', start + hours * hour) || start) - start).map((time) => time / hour), [0, 24, 24, 30, 30, 48])
  t.equal(latestBeginning(next.beginnings, 'production', start + 40 * hour), start + 24 * hour)
  t.same(next.with(new Map([['a', undefined]]), new Map()).beginnings.map(({ flag }) => flag), ['d'])
  t.equal(more.beginnings.length, 2, 'what was pinned stays')
})

t.test('each stage that begins by the clock is told of once, none that a change brought with it', async (t) => {
  const begun: Array<[string, number]> = []
  let hours = 0
  let snapshot = Snapshot.empty().with(new Map([['a', entry('a', { enabled: true, serve: daily })]]), new Map())
  const announcer = new StageAnnouncer({ status: 'READY', get snapshot () { return snapshot }, now: () => start + hours * hour }, ({ flag, stage }: Beginning) => { begun.push([flag, stage]) })
  const look = (at: number) => {
    hours = at
    announcer.look()
    return begun.splice(0)
  }
  t.same(look(23), [])
  t.same([look(24), look(24), look(25)], [[['a', 1]], [], []])
  snapshot = snapshot.with(new Map([['b', entry('b', { enabled: true, serve: { stages: [{ percentage: 5 }, { percentage: 25, at: at(26) }, { percentage: 50, at: at(40) }] } })]]), new Map())
  t.same(look(27), [], 'it began before it was known')
  t.same(look(50), [['b', 2], ['a', 2]])
  announcer.close()
})
