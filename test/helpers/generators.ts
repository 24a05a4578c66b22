import fc from 'fast-check'
import { operators, type Condition, type When } from '../../src/model/condition.js'
import type { EvaluationContext } from '../../src/model/context.js'
import type { Environment, Flag, Prerequisite, Rule, Target } from '../../src/model/flag.js'
import type { Segment } from '../../src/model/segment.js'
import type { Draw, Serve, Stage } from '../../src/model/serve.js'

/** Few names and values each, so that flags and contexts meet. */
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })
const flagKeys = ['f0', 'f1', 'f2', 'f3']
const users = fc.constantFrom('u1', 'u2', 'ünïcödé', '__proto__', '42')
const groups = fc.constantFrom('beta', 'staff', 'g3', 'constructor')
const regions = fc.constantFrom('eu', 'us')
const attributes = fc.constantFrom('plan', 'age', 'tags', 'app', 'ip', 'seen', 'company.plan', 'targetingKey', 'groups', '__proto__', 'constructor', '')
const scalars = fc.oneof(
  fc.constantFrom('pro', 'Pro', 'free', '2', '2.0', 2, 30, -1, true, false, 'true', '', '2.4.0', 'v2.4', '2.4.0-rc.1', '10.1.2.3', '::1', '2026-05-01', '2026-07-01T00:00:00Z', 'beta', 'eu', 'u1', '\ud800', '日本'),
  fc.string(), fc.integer(), fc.double({ noNaN: false })
)
/** What a document can hold: no infinity, no -0. */
const written = scalars.map((scalar) => JSON.parse(JSON.stringify(scalar)) ?? 0)
const values = fc.oneof({ weight: 6, arbitrary: scalars }, fc.array(scalars, { maxLength: 3 }), fc.constantFrom(null, undefined, {}, [], [null], new Date('2026-06-01'), { plan: 'pro' }))

export const contexts: fc.Arbitrary<EvaluationContext> = fc.record({
  targetingKey: fc.oneof(users, fc.string(), fc.constantFrom(42, null, '', {}, ['u1'])),
  groups: fc.oneof({ weight: 4, arbitrary: fc.array(groups, { maxLength: 3 }) }, groups, fc.constantFrom(null, [null, 'beta', 7], {})),
  region: fc.oneof(regions, fc.constantFrom(null, ['eu'], 7)),
  plan: values,
  age: values,
  tags: values,
  app: values,
  ip: values,
  seen: values,
  company: fc.oneof(fc.record({ plan: values }), values),
  'company.plan': values
}, { requiredKeys: [] }).chain((context) => fc.boolean().map((odd) => odd ? Object.assign(Object.create(null), { ['__proto__' as string]: 'pro', constructor: 'pro' }, context) : context)) as fc.Arbitrary<EvaluationContext>

const fitting: Record<string, fc.Arbitrary<unknown>> = {
  in: fc.array(written, { maxLength: 3 }),
  not_in: fc.array(written, { maxLength: 3 }),
  matches: fc.constantFrom('^p', 'o$', ['x', 'r'], '('),
  in_cidr: fc.constantFrom('10.0.0.0/8', ['::1', '10.1.2.3'], '10.0.0.0/99'),
  before: fc.constantFrom('2026-06-01', 1780272000000, 'soon'),
  after: fc.constantFrom('2026-06-01', 1780272000000)
}
const conditions: fc.Arbitrary<When> = fc.constantFrom(...operators, ...operators, 'resembles').chain((operator) => fc.record({
  attribute: attributes,
  operator: fc.constant(operator),
  value: fitting[operator] ?? (operator.startsWith('semver') ? fc.constantFrom('2.4.0', '2', '1.2.3.4') : fc.oneof({ weight: 5, arbitrary: written }, fc.array(written, { maxLength: 2 }))),
  ignoreCase: fc.boolean()
}, { requiredKeys: ['attribute', 'operator', 'value'] }) as fc.Arbitrary<Condition>)

const whens: fc.Arbitrary<When> = fc.letrec<{ when: When }>((tie) => ({
  when: fc.oneof({ depthSize: 'small', withCrossShrink: true },
    conditions,
    fc.array(tie('when'), { minLength: 1, maxLength: 3 }).map((all) => ({ all })),
    fc.array(tie('when'), { minLength: 1, maxLength: 3 }).map((any) => ({ any })),
    tie('when').map((not) => ({ not })),
    fc.constantFrom('s0', 's1', 's2', 'missing').map((segment) => ({ segment })),
    fc.constantFrom({}, { xor: [] }, { all: [] }) as unknown as fc.Arbitrary<When>
  )
})).when

export const segments: fc.Arbitrary<Record<string, Segment>> = fc.record({ s0: whens, s1: whens, s2: whens }).map((all) => Object.fromEntries(Object.entries(all).map(([key, when]) => [key, { when }])))

const start = Date.parse('2026-01-01T00:00:00Z')
export const times = fc.integer({ min: 0, max: 400 }).map((hours) => start + hours * 3_600_000)
const isoTimes = times.map((time) => new Date(time).toISOString())
const percentages = fc.oneof(fc.constantFrom(0, 0.5, 25, 50, 99, 100), fc.double({ min: 0, max: 100, noNaN: true }))

const stages: fc.Arbitrary<Stage[]> = fc.array(fc.record({ percentage: percentages, groups: fc.array(groups, { maxLength: 2 }), hours: fc.integer({ min: 1, max: 100 }), at: isoTimes }, { requiredKeys: ['percentage'] }), { minLength: 1, maxLength: 4 })
  .map((stages) => stages.map((stage) => stage.percentage).sort((a, b) => a - b).map((percentage, index) => ({ ...stages[index]!, percentage })))
const states = fc.record({ stage: fc.nat(3), since: isoTimes, pausedAt: isoTimes, disabledAt: isoTimes }, { requiredKeys: ['stage', 'since'] })

function serves (names: string[]): fc.Arbitrary<Serve> {
  const variants = fc.constantFrom(...names)
  const weights = fc.tuple(...names.map(() => fc.constantFrom(0, 1, 1, 3))).map((weights) => Object.fromEntries(names.map((name, i) => [name, weights.every((weight) => weight === 0) ? 1 : weights[i]!])))
  const draws = (what: fc.Arbitrary<Draw>, howMany: fc.Arbitrary<Draw>) => fc.tuple(what, howMany, fc.record({ otherwise: variants, by: fc.constantFrom('plan', 'company.plan', 'groups', 'age', '__proto__'), seed: fc.constantFrom('s', '種') }, { requiredKeys: [] })).map((parts) => Object.assign({}, ...parts) as Draw)
  return fc.oneof(variants, draws(
    fc.oneof(variants.map((variant) => ({ variant })), weights.map((split) => ({ split }))),
    fc.oneof(fc.constant({}), percentages.map((percentage) => ({ percentage })), fc.tuple(stages, optional(states)).map(([stages, state]) => ({ stages, ...(state && { state }) })))
  ))
}

const experiments: fc.Arbitrary<Environment['experiment']> = fc.oneof(fc.constant({}), fc.record({ layer: fc.constantFrom('l1', 'l2'), range: fc.constantFrom<number[][]>([0, 50], [30, 100], [80, 20]), holdout: fc.constantFrom(0, 40) }, { requiredKeys: ['layer'] }))

function environments (names: string[]): fc.Arbitrary<Environment> {
  const variant = fc.constantFrom(...names)
  const targets: fc.Arbitrary<Target[]> = fc.array(fc.record({ variant, users: fc.array(users, { maxLength: 3 }), groups: fc.array(groups, { maxLength: 2 }), regions: fc.array(regions, { maxLength: 1 }) }, { requiredKeys: ['variant'] }), { maxLength: 3 })
  const rules: fc.Arbitrary<Rule[]> = fc.array(fc.record({ name: fc.constantFrom('paying', 'öther'), when: whens, serve: serves(names) }, { requiredKeys: ['when', 'serve'] }), { maxLength: 3 })
  const prerequisites: fc.Arbitrary<Prerequisite[]> = fc.array(fc.record({ flag: fc.constantFrom(...flagKeys, 'missing'), variant: fc.constantFrom('on', 'a', 'b') }, { requiredKeys: ['flag'] }), { maxLength: 2 })
  const rarely = <T>(arbitrary: fc.Arbitrary<T[]>) => fc.oneof({ weight: 2, arbitrary: fc.constant<T[]>([]) }, arbitrary)
  return fc.record({ enabled: fc.constantFrom(true, true, true, false, undefined), prerequisites: rarely(prerequisites), targets: rarely(targets), rules: fc.oneof(rules, fc.constant<Rule[]>([])), serve: serves(names), experiment: experiments }, { requiredKeys: ['enabled', 'serve'] })
}

const kinds = fc.constantFrom<Array<{ variants?: Flag['variants'], offVariant?: string, names: string[] }>>(
  { names: ['on', 'off'] },
  { variants: ['a', 'b', 'c'], names: ['a', 'b', 'c'] },
  { variants: { a: { n: [1] }, b: {} }, offVariant: 'b', names: ['a', 'b'] },
  { variants: { on: true, b: false }, offVariant: 'b', names: ['on', 'b'] } as { variants: Flag['variants'], offVariant: string, names: string[] }
)

const oneFlag: fc.Arbitrary<Flag> = kinds.chain(({ names, ...variants }) => fc.oneof(
  { weight: 2, arbitrary: environments(names) },
  fc.record({ enabled: fc.constantFrom(undefined, true, false), environments: fc.record({ production: environments(names), staging: environments(names) }, { requiredKeys: [] }) })
).map((deciding) => ({ ...variants, metadata: { ticket: 'T-1' }, ...deciding })))

/** Four flags that may need one another. */
export const flags: fc.Arbitrary<Record<string, Flag>> = fc.tuple(oneFlag, oneFlag, oneFlag, oneFlag).map((flags) => Object.fromEntries(flags.map((flag, i) => [flagKeys[i]!, flag])))
