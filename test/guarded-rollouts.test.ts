import t from 'tap'
import type { Outcome } from '../src/evaluation/details.js'
import { FlagEntry } from '../src/evaluation/snapshot.js'
import { checkFlag } from '../src/model/check.js'
import type { Flag } from '../src/model/flag.js'
import { guardedServesOf, type Guard } from '../src/model/guard.js'
import type { Draw } from '../src/model/serve.js'
import { evaluate } from './helpers/evaluate.js'

const start = Date.parse('2026-01-01T00:00:00Z')
const at = (hours: number) => new Date(start + hours * 3_600_000).toISOString()

const nobody = { flag: () => undefined, segment: () => undefined }
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
