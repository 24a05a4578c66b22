import t from 'tap'
import { FlagEntry, SegmentEntry, type Snapshot } from '../src/evaluation/snapshot.js'
import type { EvaluationContext } from '../src/model/context.js'
import type { Flag } from '../src/model/flag.js'
import { ask, evaluate, snapshotOf, subjectOf, type Documents } from './helpers/evaluate.js'

interface Case { name: string, flag: Flag, context?: EvaluationContext, environment?: string, others?: Documents, is: [variant: string, reason: string, cause: string, rule?: string], enabled?: boolean }

const eu = { attribute: 'region', operator: 'eq', value: 'eu' } as const
const layout: Flag = { enabled: true, variants: { a: { n: 1 }, b: { n: 2 }, c: { n: 3 } }, offVariant: 'c', serve: 'a' }
const on: Flag = { enabled: true }
const off: Flag = {}

const cases: Case[] = [
  { name: 'a boolean flag that is on', flag: on, is: ['on', 'STATIC', 'default'], enabled: true },
  { name: 'a flag is off unless said', flag: {}, is: ['off', 'DISABLED', 'flag-disabled'] },
  { name: 'a disabled flag serves its offVariant even to its targets', flag: { ...layout, enabled: false, targets: [{ variant: 'a', users: ['u'] }] }, context: { targetingKey: 'u' }, is: ['c', 'DISABLED', 'flag-disabled'] },
  { name: 'with environments the flag itself is on unless said', flag: { environments: { production: { enabled: true } } }, is: ['on', 'STATIC', 'default'], enabled: true },
  { name: 'with environments `enabled` is a kill switch over all', flag: { enabled: false, environments: { production: { enabled: true } } }, is: ['off', 'DISABLED', 'flag-disabled'] },
  { name: 'an environment that is not there', flag: { environments: { staging: { enabled: true } } }, is: ['off', 'DISABLED', 'environment-missing'] },
  { name: 'an environment that every object seems to have', flag: { environments: { staging: { enabled: true } } }, environment: 'constructor', is: ['off', 'DISABLED', 'environment-missing'] },
  { name: 'an environment is off unless said', flag: { environments: { production: {} } }, is: ['off', 'DISABLED', 'environment-disabled'] },
  { name: 'a flag without environments answers in every environment', flag: on, environment: 'anything', is: ['on', 'STATIC', 'default'], enabled: true },

  { name: 'a prerequisite that is met', flag: { ...on, prerequisites: [{ flag: 'p' }] }, others: { flags: { p: on } }, is: ['on', 'DEFAULT', 'default'], enabled: true },
  { name: 'a prerequisite that is missing', flag: { ...on, prerequisites: [{ flag: 'p' }] }, is: ['off', 'DISABLED', 'prerequisite-failed'] },
  { name: 'a prerequisite that is disabled, though its offVariant is the one wanted', flag: { ...on, prerequisites: [{ flag: 'p', variant: 'off' }] }, others: { flags: { p: off } }, is: ['off', 'DISABLED', 'prerequisite-failed'] },
  { name: 'a prerequisite that serves the offVariant wanted', flag: { ...on, prerequisites: [{ flag: 'p', variant: 'off' }] }, others: { flags: { p: { enabled: true, serve: 'off' } } }, is: ['on', 'DEFAULT', 'default'], enabled: true },
  { name: 'a prerequisite that serves another variant', flag: { ...on, prerequisites: [{ flag: 'p', variant: 'b' }] }, others: { flags: { p: layout } }, is: ['off', 'DISABLED', 'prerequisite-failed'] },
  { name: 'the second of two prerequisites is not met', flag: { ...on, prerequisites: [{ flag: 'p' }, { flag: 'q' }] }, others: { flags: { p: on, q: off } }, is: ['off', 'DISABLED', 'prerequisite-failed'] },
  { name: 'a prerequisite whose own prerequisite is not met', flag: { ...on, prerequisites: [{ flag: 'p' }] }, others: { flags: { p: { ...on, prerequisites: [{ flag: 'q' }] }, q: off } }, is: ['off', 'DISABLED', 'prerequisite-failed'] },
  { name: 'a flag that is its own prerequisite', flag: { ...on, prerequisites: [{ flag: 'flag' }] }, is: ['off', 'DISABLED', 'prerequisite-failed'] },
  { name: 'a prerequisite that leads back', flag: { ...on, prerequisites: [{ flag: 'p' }] }, others: { flags: { p: { ...on, prerequisites: [{ flag: 'flag' }] } } }, is: ['off', 'DISABLED', 'prerequisite-failed'] },
  { name: 'a prerequisite on the way to a cycle', flag: { ...on, prerequisites: [{ flag: 'p' }] }, others: { flags: { p: { ...on, prerequisites: [{ flag: 'q' }] }, q: { ...on, prerequisites: [{ flag: 'q' }] } } }, is: ['off', 'DISABLED', 'prerequisite-failed'] },
  { name: 'two ways to the same prerequisite are no cycle', flag: { ...on, prerequisites: [{ flag: 'p' }, { flag: 'q' }] }, others: { flags: { p: { ...on, prerequisites: [{ flag: 'r' }] }, q: { ...on, prerequisites: [{ flag: 'r' }] }, r: on } }, is: ['on', 'DEFAULT', 'default'], enabled: true },
  { name: 'a cycle in another environment is none in this one', flag: { environments: { production: { enabled: true, prerequisites: [{ flag: 'p' }] } } }, others: { flags: { p: { environments: { production: { enabled: true }, staging: { enabled: true, prerequisites: [{ flag: 'flag' }] } } } } }, is: ['on', 'DEFAULT', 'default'], enabled: true },
  { name: 'a failed prerequisite comes before a target', flag: { ...on, prerequisites: [{ flag: 'p' }], targets: [{ users: ['u'] }], serve: 'off' }, context: { targetingKey: 'u' }, is: ['off', 'DISABLED', 'prerequisite-failed'] },

  { name: 'a user in a later target beats a group in an earlier one', flag: { ...layout, targets: [{ variant: 'a', groups: ['g'] }, { variant: 'b', users: ['u'] }] }, context: { targetingKey: 'u', groups: ['g'] }, is: ['b', 'TARGETING_MATCH', 'target-user'], enabled: true },
  { name: 'a group in a later target beats a region in an earlier one', flag: { ...layout, targets: [{ variant: 'a', regions: ['eu'] }, { variant: 'b', groups: ['g'] }] }, context: { region: 'eu', groups: ['g'] }, is: ['b', 'TARGETING_MATCH', 'target-group'], enabled: true },
  { name: 'the earlier entry wins among users', flag: { ...layout, targets: [{ variant: 'b', users: ['u'] }, { variant: 'a', users: ['u'] }] }, context: { targetingKey: 'u' }, is: ['b', 'TARGETING_MATCH', 'target-user'], enabled: true },
  { name: 'the earlier entry wins among groups, whatever their order in the context', flag: { ...layout, targets: [{ variant: 'b', groups: ['g'] }, { variant: 'a', groups: ['h'] }] }, context: { groups: ['h', 'g'] }, is: ['b', 'TARGETING_MATCH', 'target-group'], enabled: true },
  { name: 'a region', flag: { ...layout, targets: [{ variant: 'b', regions: ['us', 'eu'] }] }, context: { region: 'eu' }, is: ['b', 'TARGETING_MATCH', 'target-region'], enabled: true },
  { name: 'a target without a variant serves on', flag: { ...on, serve: 'off', targets: [{ users: ['u'] }] }, context: { targetingKey: 'u' }, is: ['on', 'TARGETING_MATCH', 'target-user'], enabled: true },
  { name: 'a target that serves the offVariant', flag: { ...layout, targets: [{ variant: 'c', users: ['u'] }] }, context: { targetingKey: 'u' }, is: ['c', 'TARGETING_MATCH', 'target-user'] },
  { name: 'nobody stands in empty lists, so nothing could match', flag: { ...on, serve: 'off', targets: [{ users: [], groups: [], regions: [] }] }, context: { targetingKey: 'u', groups: [''], region: '' }, is: ['off', 'STATIC', 'default'] },
  { name: 'a prototype is nobody', flag: { ...on, serve: 'off', targets: [{ users: ['u'] }] }, context: { targetingKey: 'constructor' }, is: ['off', 'DEFAULT', 'default'] },
  { name: 'a user named __proto__ is a user', flag: { ...on, serve: 'off', targets: [{ users: ['__proto__'] }] }, context: { targetingKey: '__proto__' }, is: ['on', 'TARGETING_MATCH', 'target-user'], enabled: true },
  { name: 'a targeting key that is a number is its text', flag: { ...on, serve: 'off', targets: [{ users: ['42'] }] }, context: JSON.parse('{ "targetingKey": 42 }'), is: ['on', 'TARGETING_MATCH', 'target-user'], enabled: true },
  { name: 'a single group that is no list is one group', flag: { ...on, serve: 'off', targets: [{ groups: ['g'] }] }, context: JSON.parse('{ "groups": "g" }'), is: ['on', 'TARGETING_MATCH', 'target-group'], enabled: true },
  { name: 'groups that are nothing of the kind', flag: { ...on, serve: 'off', targets: [{ groups: ['g'] }] }, context: JSON.parse('{ "groups": [null, {}, ["g"], 1] }'), is: ['off', 'DEFAULT', 'default'] },

  { name: 'the first rule that matches, by its name', flag: { ...layout, rules: [{ when: { not: eu }, serve: 'c' }, { name: 'in the EU', when: eu, serve: 'b' }, { when: eu, serve: 'c' }] }, context: { region: 'eu' }, is: ['b', 'TARGETING_MATCH', 'rule', 'in the EU'], enabled: true },
  { name: 'a rule without a name goes by its index', flag: { ...layout, rules: [{ when: { not: eu }, serve: 'c' }, { when: eu, serve: 'b' }] }, context: { region: 'eu' }, is: ['b', 'TARGETING_MATCH', 'rule', '1'], enabled: true },
  { name: 'a target comes before a rule', flag: { ...layout, targets: [{ variant: 'a', regions: ['eu'] }], rules: [{ when: eu, serve: 'b' }] }, context: { region: 'eu' }, is: ['a', 'TARGETING_MATCH', 'target-region'], enabled: true },
  { name: 'a rule that draws: in', flag: { ...on, serve: 'off', rules: [{ when: eu, serve: { percentage: 100 } }] }, context: { region: 'eu' }, is: ['on', 'SPLIT', 'rollout-hit', '0'], enabled: true },
  { name: 'a rule that draws: out', flag: { ...on, serve: 'on', rules: [{ when: eu, serve: { percentage: 0 } }] }, context: { region: 'eu', targetingKey: 'u' }, is: ['off', 'SPLIT', 'rollout-miss', '0'] },
  { name: 'a rule that draws, with nothing to hash', flag: { ...on, serve: 'on', rules: [{ when: eu, serve: { percentage: 50 } }] }, context: { region: 'eu' }, is: ['off', 'TARGETING_MATCH', 'no-bucketing-key', '0'] },
  { name: 'no rule matches', flag: { ...on, serve: 'off', rules: [{ when: eu }] }, is: ['off', 'DEFAULT', 'default'] },

  { name: '100 % is everyone, also without a key', flag: { ...on, serve: { percentage: 100 } }, is: ['on', 'SPLIT', 'rollout-hit'], enabled: true },
  { name: '0 % is nobody, also without a key', flag: { ...on, serve: { percentage: 0 } }, is: ['off', 'SPLIT', 'rollout-miss'] },
  { name: 'a percentage with nothing to hash serves otherwise', flag: { ...layout, serve: { variant: 'a', percentage: 50, otherwise: 'b' } }, is: ['b', 'DEFAULT', 'no-bucketing-key'], enabled: true },
  { name: 'an empty key is nothing to hash', flag: { ...on, serve: { percentage: 50 } }, context: { targetingKey: '' }, is: ['off', 'DEFAULT', 'no-bucketing-key'] },
  { name: 'a list is nothing to hash', flag: { ...on, serve: { percentage: 50, by: 'groups' } }, context: { groups: ['g'] }, is: ['off', 'DEFAULT', 'no-bucketing-key'] },
  { name: 'those who are out get otherwise', flag: { ...layout, serve: { variant: 'a', percentage: 0, otherwise: 'b' } }, is: ['b', 'SPLIT', 'rollout-miss'], enabled: true },
  { name: 'a split with nothing to hash', flag: { ...layout, serve: { split: { a: 1, b: 1 } } }, is: ['c', 'DEFAULT', 'no-bucketing-key'] },
  { name: 'a split with one positive weight needs no key', flag: { ...layout, serve: { split: { a: 0, b: 1 } } }, is: ['b', 'SPLIT', 'split'], enabled: true },
  { name: 'a split that chose the offVariant is enabled', flag: { ...layout, serve: { split: { c: 1 } } }, is: ['c', 'SPLIT', 'split'], enabled: true },
  { name: 'a split of a boolean flag is enabled as its value says', flag: { ...on, serve: { split: { off: 1 } } }, is: ['off', 'SPLIT', 'split'] },
  { name: 'a split of a part: in', flag: { ...layout, serve: { split: { a: 1 }, percentage: 100 } }, is: ['a', 'SPLIT', 'split'], enabled: true },
  { name: 'a split of a part: out', flag: { ...layout, serve: { split: { a: 1 }, percentage: 0 } }, is: ['c', 'SPLIT', 'rollout-miss'] },
  { name: 'a long form without a draw', flag: { ...layout, serve: { variant: 'b' } }, is: ['b', 'STATIC', 'default'], enabled: true },
  { name: 'an empty long form is on', flag: { ...on, serve: {} }, is: ['on', 'STATIC', 'default'], enabled: true },
  { name: 'a list of names: the first is the offVariant', flag: { enabled: true, variants: ['control', 'new'], serve: 'control' }, is: ['control', 'STATIC', 'default'] },

  { name: 'a stage\'s percentage', flag: { ...on, serve: { stages: [{ percentage: 100 }] } }, is: ['on', 'SPLIT', 'rollout-hit'], enabled: true },
  { name: 'a stage\'s group is in without a key', flag: { ...on, serve: { stages: [{ percentage: 0, groups: ['internal'] }] } }, context: { groups: ['x', 'internal'] }, is: ['on', 'SPLIT', 'rollout-hit'], enabled: true },
  { name: 'the groups of stages reached stay in', flag: { ...on, serve: { stages: [{ percentage: 0, groups: ['internal'] }, { percentage: 0, groups: ['beta'] }, { percentage: 0 }], state: { stage: 1, since: '2026-01-01T00:00:00Z' } } }, context: { groups: ['internal'] }, is: ['on', 'SPLIT', 'rollout-hit'], enabled: true },
  { name: 'the groups of later stages are not in yet', flag: { ...on, serve: { stages: [{ percentage: 0 }, { percentage: 0, groups: ['beta'] }] } }, context: { groups: ['beta'] }, is: ['off', 'SPLIT', 'rollout-miss'] },
  { name: 'a stage\'s group with a split and nothing to hash', flag: { ...layout, serve: { split: { a: 1, b: 1 }, stages: [{ percentage: 0, groups: ['internal'] }] } }, context: { groups: ['internal'] }, is: ['c', 'DEFAULT', 'no-bucketing-key'] }
]

for (const { name, flag, context, environment = 'production', others, is: [variant, reason, cause, rule], enabled = false } of cases) {
  t.test(name, async (t) => {
    const outcome = evaluate(flag, context, { environment, ...others })
    t.same(outcome.details, {
      value: Array.isArray(flag.variants) ? variant : flag.variants?.[variant] ?? variant === 'on',
      variant,
      reason,
      flagMetadata: { cause, ...(rule !== undefined && { rule }), environment, version: 7 }
    })
    t.equal(outcome.enabled, enabled)
  })
}

t.test('a flag\'s own metadata is given, and ours wins where names clash', async (t) => {
  const { details } = evaluate({ enabled: true, metadata: { ticket: 'PAY-12', version: 'mine', cause: 'mine' } })
  t.same(details.flagMetadata, { ticket: 'PAY-12', cause: 'default', environment: 'production', version: 7 })
})

t.test('a rule in a flag\'s own metadata is not mistaken for the one that answered', async (t) => {
  const flag: Flag = { enabled: true, serve: 'off', metadata: { rule: 'mine' }, rules: [{ when: eu, serve: 'on' }] }
  t.equal(evaluate(flag).details.flagMetadata.rule, undefined)
  t.equal(evaluate(flag, { region: 'eu' }).details.flagMetadata.rule, '0')
})

t.test('prerequisites answer however long the way to them is, and however many lead there', async (t) => {
  const chain: Record<string, Flag> = {}
  for (let i = 0; i < 10_000; i++) chain[`f${i}`] = { enabled: true, prerequisites: i === 9_999 ? [] : [{ flag: `f${i + 1}` }] }
  const snapshot = snapshotOf({ flags: chain })
  for (const subject of [subjectOf(snapshot), subjectOf(snapshot)]) t.match(ask('f0', subject).details, { variant: 'on', reason: 'DEFAULT' })
  const broken = snapshotOf({ flags: { ...chain, f9999: { enabled: false } } })
  t.match(ask('f0', subjectOf(broken)).details, { variant: 'off', flagMetadata: { cause: 'prerequisite-failed' } })

  const ways: Record<string, Flag> = { a60: { enabled: true, serve: 'off', targets: [{ users: ['u'] }] }, b60: { enabled: true } }
  for (let i = 0; i < 60; i++) for (const name of ['a', 'b']) ways[`${name}${i}`] = { enabled: true, prerequisites: [{ flag: `a${i + 1}` }, { flag: `b${i + 1}` }] }
  const both = snapshotOf({ flags: ways }) // 2^60 ways would never end
  t.equal(ask('a0', subjectOf(both, { targetingKey: 'u' })).enabled, true)
  t.equal(ask('a0', subjectOf(both, { targetingKey: 'v' })).enabled, false)
})

t.test('what takes too long leaves the answer to the caller\'s default, whatever was asked before', async (t) => {
  const costly: Flag = { enabled: true, serve: 'on', rules: [{ when: { attribute: 'text', operator: 'matches', value: '(?:a?){50}a{50}' }, serve: 'off' }] }
  const flags: Record<string, Flag> = { costly, needing: { enabled: true, prerequisites: [{ flag: 'costly' }] }, farther: { enabled: true, prerequisites: [{ flag: 'needing' }] } }
  const keys = Object.keys(flags)
  for (const order of [keys, keys.toReversed()]) {
    const long = subjectOf({ flags }, { text: 'b'.repeat(100_000) })
    for (const key of [...order, ...order]) t.match(ask(key, long), { enabled: undefined, details: { reason: 'ERROR', errorCode: 'GENERAL', errorMessage: /too long/ } }, key)
    const short = subjectOf({ flags }, { text: 'b' })
    for (const key of [...order, ...order]) t.equal(ask(key, short).enabled, true, key)
  }
})

t.test('answers are frozen all through, and the same object each time', async (t) => {
  const subject = subjectOf({ flags: { f: { enabled: true, variants: { a: { list: [{ n: 1 }] } }, offVariant: 'a', serve: { percentage: 100, variant: 'a' } } } })
  const outcome = ask('f', subject)
  t.equal(ask('f', subject), outcome)
  const { list } = outcome.details.value as { list: Array<{ n: number }> }
  for (const part of [outcome, outcome.details, outcome.details.flagMetadata, outcome.details.value, list, list[0]]) t.ok(Object.isFrozen(part))
})

t.test('a flag that cannot be compiled says so and leaves the answer to the caller\'s default', async (t) => {
  const { enabled, details } = evaluate({ enabled: true, serve: 'nothing' })
  t.equal(enabled, undefined)
  t.match(details, { value: undefined, reason: 'ERROR', errorCode: 'GENERAL', errorMessage: /no variant nothing/ })
})

t.test('a context that throws does not reach the caller', async (t) => {
  const subject = { ...subjectOf({ flags: { f: { enabled: true, serve: { percentage: 50 } } } }), get context (): never { throw new Error('no session') } }
  t.match(ask('f', subject).details, { reason: 'ERROR', errorCode: 'GENERAL', errorMessage: 'no session' })
})

t.test('environments that a flag treats alike cost no compilation each, and are each told as itself', async (t) => {
  let reads = 0
  const target = { get users () { reads++; return ['u'] } }
  const common: Flag = { enabled: true, targets: [target], rules: [{ name: 'eu', when: eu, serve: { percentage: 50 } }], serve: 'off' }
  const split: Flag = { environments: { production: { enabled: true, targets: [target], serve: 'off' } } }
  const snapshot = snapshotOf({ flags: { common, split } })
  const contexts: EvaluationContext[] = [{ targetingKey: 'u' }, { targetingKey: 'v' }, ...Array.from({ length: 8 }, (_, i) => ({ targetingKey: `w${i}`, region: 'eu' })), { region: 'eu' }]
  const answers = (key: string, environment: string) => contexts.map((context) => ask(key, subjectOf(snapshot, context, { environment })))
  const told = (key: string, environment: string) => answers(key, environment).map(({ enabled, details: { flagMetadata: { environment: _, ...metadata }, ...details } }) => ({ enabled, details, metadata }))
  const [first] = [told('common', 'production'), told('split', 'production'), told('split', 'staging')]
  const compiled = reads
  for (let i = 0; i < 100; i++) {
    t.same(told('common', `made-up-${i}`), first)
    for (const { details } of [...answers('common', `made-up-${i}`), ...answers('split', `made-up-${i}`)]) if (details.flagMetadata.environment !== `made-up-${i}`) t.fail('told of another environment')
  }
  t.equal(reads, compiled)
  t.equal(answers('common', 'made-up-99')[0], answers('common', 'made-up-99')[0], 'each answer is made once')
  t.equal(answers('common', 'production')[0]!.details.flagMetadata.environment, 'production')
})

t.test('a flag compiled for many environments answers each as itself', async (t) => {
  const snapshot = snapshotOf({ flags: { f: { environments: { e7: { enabled: true } } } } })
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 100; i++) {
      const { enabled, details } = ask('f', subjectOf(snapshot, {}, { environment: `e${i}` }))
      if (enabled !== (i === 7) || details.flagMetadata.environment !== `e${i}`) t.fail(`wrong answer in e${i}`)
    }
  }
  t.pass()
})

t.test('an older snapshot keeps its answers when flags and segments change', async (t) => {
  const flag: Flag = { enabled: true, serve: 'off', prerequisites: [{ flag: 'p' }], rules: [{ when: { segment: 's' }, serve: 'on' }] }
  const first = snapshotOf({ flags: { f: flag, p: on }, segments: { s: { when: eu } } })
  const cause = (snapshot: Snapshot) => ask('f', subjectOf(snapshot, { region: 'eu' })).details.flagMetadata.cause
  const provenance = { version: 8, time: 0, by: null }
  t.equal(cause(first), 'rule')
  const second = first.with(new Map(), new Map([['s', undefined]]))
  t.equal(cause(second), 'default')
  const third = second.with(new Map([['p', new FlagEntry('p', { enabled: true, prerequisites: [{ flag: 'f' }] }, provenance)]]), new Map())
  t.equal(cause(third), 'prerequisite-failed')
  const fourth = third.with(new Map([['p', new FlagEntry('p', on, provenance)]]), new Map([['s', new SegmentEntry('s', { when: { not: eu } }, provenance)]]))
  t.equal(cause(fourth), 'default')
  t.same([first, second, third, fourth].map(cause), ['rule', 'default', 'prerequisite-failed', 'default'])
})
