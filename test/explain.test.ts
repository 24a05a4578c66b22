import fc from 'fast-check'
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { explain, type Explanation } from '../src/evaluation/explain.js'
import type { EvaluationContext } from '../src/model/context.js'
import type { Flag } from '../src/model/flag.js'
import { ask, snapshotOf, subjectOf, type Documents } from './helpers/evaluate.js'
import { contexts, flags, segments, times } from './helpers/generators.js'

const now = Date.parse('2026-01-01T00:00:00Z')

function explainFlag (flag: Flag, context: EvaluationContext = {}, documents: Documents = {}): Explanation {
  const subject = subjectOf({ ...documents, flags: { ...documents.flags, flag } }, context, { now })
  return explain(subject.snapshot.flag('flag')!, subject)
}

t.test('whatever the flags and the context, the explanation ends in what was served', async (t) => {
  const causes = new Set<string | undefined>()
  fc.assert(fc.property(flags, segments, contexts, times, fc.constantFrom('production', 'staging', 'constructor'), (flags, segments, context, now, environment) => {
    const subject = subjectOf({ flags, segments }, context, { now, environment })
    for (const key of Object.keys(flags)) {
      const { enabled, details } = ask(key, subject)
      causes.add(details.flagMetadata.cause)
      const explanation = explain(subject.snapshot.flag(key)!, subject)
      const { resolution, steps } = explanation
      if (!isDeepStrictEqual(resolution, { ...details, enabled })) return false
      if (steps.filter(({ answers }) => answers).length !== 1 || steps.at(-1)!.answers !== true) return false
      if (!isDeepStrictEqual(JSON.parse(JSON.stringify(steps)), steps)) return false
    }
    return true
  }), { numRuns: 1000 })
  t.same([...causes].sort(), [
    'default', 'environment-disabled', 'environment-missing', 'flag-disabled', 'layer-miss', 'no-bucketing-key', 'prerequisite-failed',
    'rollout-hit', 'rollout-miss', 'rule', 'split', 'target-group', 'target-region', 'target-user'
  ], 'every cause came about')
})

t.test('answers do not depend on who asked before, nor on the flag being asked directly', async () => {
  fc.assert(fc.property(flags, segments, fc.array(contexts, { minLength: 2, maxLength: 4 }), times, (flags, segments, contexts, now) => {
    const shared = snapshotOf({ flags, segments })
    return contexts.every((context) => Object.keys(flags).reverse().every((key) => isDeepStrictEqual(
      ask(key, subjectOf(shared, context, { now })).details,
      ask(key, subjectOf({ flags, segments }, context, { now })).details
    )))
  }), { numRuns: 300 })
})

t.test('a stage that ends when no calendar goes any more is shown without that', async (t) => {
  const { steps } = explainFlag({ enabled: true, serve: { stages: [{ percentage: 0, hours: 1e300 }, { percentage: 100 }], state: { stage: 0, since: '2026-01-01T00:00:00Z' } } })
  t.same(steps.at(-1), {
    check: 'serve',
    answers: true,
    serve: { by: 'targetingKey', hashed: null, seed: 'flag', variant: 'off', stages: { stage: 0, of: 2, percentage: 0, groups: [], since: '2026-01-01T00:00:00Z' }, rollout: { in: false, bucket: null, threshold: 0 } }
  })
})

t.test('a segment is shown where it is first named, so that what names it often stays readable', async (t) => {
  const segments: Documents['segments'] = { s60: { when: { attribute: 'plan', operator: 'eq', value: 'pro' } } }
  for (let i = 0; i < 60; i++) segments[`s${i}`] = { when: { any: [{ segment: `s${i + 1}` }, { segment: `s${i + 1}` }] } }
  const when = { all: [{ segment: 's59' }, { not: { segment: 's59' } }] }
  const { steps } = explainFlag({ enabled: true, serve: 'off', rules: [{ when, serve: 'on' }, { when: { segment: 's0' } }] }, { plan: 'pro' }, { segments })
  const shown = { segment: 's60', matched: true, when: { attribute: 'plan', operator: 'eq', value: 'pro', actual: 'pro', matched: true } }
  t.match(steps[1], {
    matched: false,
    when: { matched: false, all: [{ segment: 's59', matched: true, when: { matched: true, any: [shown, { segment: 's60', matched: true, when: undefined }] } }, { matched: false, not: { segment: 's59', matched: true, when: undefined } }] }
  })
  t.match(steps[2], { matched: true, answers: true })
})

t.test('a rule shows each condition with what it saw and why it does not hold', async (t) => {
  const { steps, resolution } = explainFlag({
    enabled: true,
    serve: 'off',
    rules: [
      { name: 'paying', when: { all: [{ attribute: 'plan', operator: 'in', value: ['pro'] }, { attribute: 'age', operator: 'gte', value: 30 }, { attribute: 'country', operator: 'ne', value: 'de' }] }, serve: 'on' },
      { when: { not: { segment: 'staff' } }, serve: 'on' },
      { when: { any: [{ segment: 'missing' }, { attribute: 'plan', operator: 'eq', value: 'pro' }] }, serve: 'on' }
    ]
  }, { plan: 'pro', age: 'old', seen: new Date(0) }, { segments: { staff: { when: { attribute: 'seen', operator: 'before', value: '2026-01-01' } } } })
  t.same(steps, [
    { check: 'enabled', answers: false, flag: true },
    {
      check: 'rule',
      rule: 'paying',
      index: 0,
      answers: false,
      matched: false,
      when: {
        matched: false,
        all: [
          { attribute: 'plan', operator: 'in', value: ['pro'], actual: 'pro', matched: true },
          { attribute: 'age', operator: 'gte', value: 30, actual: 'old', matched: false, why: 'the attribute cannot be read as gte needs' },
          { attribute: 'country', operator: 'ne', value: 'de', matched: false, why: 'the attribute is missing' }
        ]
      }
    },
    {
      check: 'rule',
      rule: '1',
      index: 1,
      answers: false,
      matched: false,
      when: { matched: false, not: { segment: 'staff', matched: true, when: { attribute: 'seen', operator: 'before', value: '2026-01-01', actual: '1970-01-01T00:00:00.000Z', matched: true } } }
    },
    {
      check: 'rule',
      rule: '2',
      index: 2,
      answers: false,
      matched: false,
      why: 'it holds what this version cannot evaluate, and so does not match as a whole',
      when: { matched: null, any: [{ segment: 'missing', matched: null, why: 'there is no such segment' }, { attribute: 'plan', operator: 'eq', value: 'pro', actual: 'pro', matched: true }] }
    },
    { check: 'serve', answers: true, serve: { variant: 'off' } }
  ])
  t.match(resolution, { enabled: false, value: false, variant: 'off', reason: 'DEFAULT', flagMetadata: { cause: 'default' } })
})

t.test('a draw shows bucket, threshold, stage and split', async (t) => {
  const { steps } = explainFlag({
    enabled: true,
    variants: ['control', 'new'],
    serve: { split: { control: 1, new: 1 }, stages: [{ percentage: 5, groups: ['internal'] }, { percentage: 25, hours: 2 }, { percentage: 100 }], state: { stage: 0, since: '2025-12-31T23:00:00Z' } }
  }, { targetingKey: 'u', groups: ['x', 'internal'] })
  t.match(steps, [{ check: 'enabled' }, {
    check: 'serve',
    answers: true,
    serve: {
      by: 'targetingKey',
      hashed: 'u',
      seed: 'flag',
      stages: { stage: 0, of: 3, percentage: 5, groups: ['internal'], since: '2025-12-31T23:00:00Z' },
      rollout: { in: true, bucket: Number, threshold: 5, group: 'internal' },
      split: { weights: { control: 1, new: 1 }, bucket: Number, variant: /control|new/ }
    }
  }])
  const { steps: [, step] } = explainFlag({ enabled: true, serve: { percentage: 25, by: 'company' } })
  t.match(step, { serve: { by: 'company', hashed: null, rollout: { in: null, bucket: null, threshold: 25 }, variant: 'off', why: /nothing to hash/ } })
})

t.test('a prerequisite shows its answer and why it is not enough', async (t) => {
  const why = (flags: Record<string, Flag>) => {
    const { steps } = explainFlag({ enabled: true, prerequisites: [{ flag: 'p' }] }, {}, { flags })
    const step = steps.at(-1)!
    return step.check === 'prerequisite' ? [step.why, step.answer?.variant] : undefined
  }
  t.same(why({}), ['there is no such flag', undefined])
  t.same(why({ p: {} }), ['it is disabled', 'off'])
  t.same(why({ p: { enabled: true, serve: 'off' } }), ['it serves another variant', 'off'])
  t.same(why({ p: { enabled: true, prerequisites: [{ flag: 'flag' }] } }), ['its own prerequisites are missing, or lead back to it', undefined])
  t.same(why({ p: { enabled: true, serve: 'x' } }), ['it cannot be evaluated', undefined])
})

t.test('targets, environments and failures are shown', async (t) => {
  t.match(explainFlag({ enabled: true, serve: 'off', targets: [{ users: ['a'] }, { users: ['b'], groups: ['g'] }] }, { targetingKey: 'c', groups: ['g'] }).steps.slice(1), [
    { check: 'target-user', answers: false, actual: 'c', entry: null },
    { check: 'target-group', answers: true, actual: ['g'], entry: 1, variant: 'on' }
  ])
  t.same(explainFlag({ environments: { staging: { enabled: true } } }).steps, [
    { check: 'enabled', answers: true, why: 'the flag does not have this environment', flag: true, environment: false, environments: ['staging'] }
  ])
  t.match(explainFlag({ enabled: true, serve: 'x' }), { steps: [{ check: 'failure', answers: true, why: /no variant x/ }], resolution: { reason: 'ERROR', errorCode: 'GENERAL' } })
})
