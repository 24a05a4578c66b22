import fc from 'fast-check'
import t from 'tap'
import { settleRollouts, stageAt } from '../src/evaluation/stages.js'
import type { Environment, Flag } from '../src/model/flag.js'
import type { Draw, RolloutState, Stage } from '../src/model/serve.js'

const hour = 3_600_000
const start = Date.parse('2026-01-01T00:00:00Z')
const iso = (time: number) => new Date(time).toISOString()
const at = (hours: number) => iso(start + hours * hour)
const stateOf = (settings: Environment) => (settings.serve as Draw).state!

const hourly: Stage[] = [{ percentage: 5, hours: 2 }, { percentage: 25, hours: 3 }, { percentage: 50 }, { percentage: 100 }]

t.test('stages last their hours, and one without waits for a person', async (t) => {
  const state = { stage: 0, since: at(0) }
  t.same([0, 1.999, 2, 4.999, 5, 1e6].map((hours) => stageAt(hourly, state, start + hours * hour)), [0, 0, 1, 1, 2, 2])
  t.equal(stageAt(hourly, { stage: 3, since: at(0) }, start), 3)
  t.equal(stageAt(hourly, { stage: 9, since: at(0) }, start), 3, 'a stage beyond the last is the last')
})

t.test('a stage ends when the next one\'s time comes, hours or not', async (t) => {
  const stages: Stage[] = [{ percentage: 5, hours: 10 }, { percentage: 25, at: at(4), hours: 1 }, { percentage: 50 }, { percentage: 100, at: at(20) }]
  t.same([3, 4, 5, 19, 20].map((hours) => stageAt(stages, { stage: 0, since: at(0) }, start + hours * hour)), [0, 1, 2, 2, 3])
})

t.test('without state hours do not run, at does', async (t) => {
  t.equal(stageAt(hourly, undefined, start + 1e6 * hour), 0)
  const stages: Stage[] = [{ percentage: 5, hours: 1 }, { percentage: 25, at: at(4), hours: 1 }, { percentage: 50 }]
  t.same([3, 4, 100].map((hours) => stageAt(stages, undefined, start + hours * hour)), [0, 1, 1])
})

t.test('a first stage with a time has not begun before it, unless a person began it', async (t) => {
  const stages: Stage[] = [{ percentage: 5, at: at(4), hours: 2 }, { percentage: 100 }]
  const { serve } = settleRollouts(undefined, { enabled: true, serve: { stages } }, start)
  const { state } = serve as Draw
  t.same(state, { stage: 0, since: at(4) })
  t.same([0, 3.9, 4, 5.9, 6].map((hours) => stageAt(stages, state, start + hours * hour)), [-1, -1, 0, 0, 1])
  t.same([3.9, 4].map((hours) => stageAt(stages, undefined, start + hours * hour)), [-1, 0])
  t.same([1, 2.9, 3].map((hours) => stageAt(stages, { stage: 0, since: at(1) }, start + hours * hour)), [0, 0, 1])
})

t.test('the clock stands while paused or disabled', async (t) => {
  for (const stand of [{ pausedAt: at(2.5) }, { disabledAt: at(2.5) }, { pausedAt: at(2.5), disabledAt: at(9) }]) {
    t.same([0, 2.5, 5, 1e6].map((hours) => stageAt(hourly, { stage: 0, since: at(0), ...stand }, start + hours * hour)), [1, 1, 1, 1])
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
    return stageAt(stages, state, earlier) <= stageAt(stages, state, later) && stageAt(stages, undefined, earlier) <= stageAt(stages, undefined, later)
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
    const stage = (flag: Flag, now: number) => stageAt(stages, stateOf(flag), now)
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
