import fc, { type Arbitrary } from 'fast-check'
import type { Condition, When } from '../../src/model/condition.js'
import type { Environment, Flag } from '../../src/model/flag.js'
import type { JsonValue } from '../../src/model/json.js'
import { isBoolean, offVariantOf } from '../../src/model/meaning.js'
import type { Others } from '../../src/model/references.js'
import type { Segment } from '../../src/model/segment.js'
import { isCompared, type Guard } from '../../src/model/guard.js'
import type { Draw, Serve } from '../../src/model/serve.js'

/** What generated flags name besides their own. */
export const neighbours = {
  flags: { plain: { enabled: true }, colours: { enabled: true, variants: ['red', 'green'], serve: 'green' } } as Record<string, Flag>,
  segments: { europe: { when: { attribute: 'region', operator: 'in', value: ['eu', 'uk'] } } } as Record<string, Segment>
}

export const amongNeighbours: Others = {
  flag: (key) => Object.hasOwn(neighbours.flags, key) ? neighbours.flags[key] : undefined,
  segment: (key) => Object.hasOwn(neighbours.segments, key) ? neighbours.segments[key] : undefined,
  layer: () => []
}

const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,8}$/).filter((name) => !(name in Object.prototype))
const users = fc.array(fc.constantFrom('u1', 'u2', 'u3', 'ü 4'), { maxLength: 3 })
const percentage = fc.oneof(fc.constantFrom(0, 100, 25, 0.5), fc.integer({ min: 0, max: 1000 }).map((permille) => permille / 10))

/** Any valid condition. */
export const arbitraryCondition: Arbitrary<Condition> = fc.oneof(
  condition(['eq', 'ne'], fc.oneof(fc.constantFrom('pro', '2', ''), fc.integer({ min: -3, max: 3 }), fc.boolean()), true),
  condition(['in', 'not_in'], fc.array(fc.oneof(fc.constantFrom('pro', 'free', '2'), fc.integer({ min: 0, max: 3 })), { maxLength: 3 }), true),
  condition(['gt', 'gte', 'lt', 'lte'], fc.oneof(fc.integer({ min: -3, max: 3 }), fc.constantFrom('1', '2.0')), false),
  condition(['contains', 'starts_with', 'ends_with'], fc.oneof(fc.constantFrom('p', 'Pro'), fc.array(fc.constantFrom('p', 'o'), { maxLength: 2 })), true),
  condition(['not_contains'], fc.constantFrom('p', 'Pro'), true),
  condition(['matches'], fc.constantFrom('^p', '(a+)+$', '[0-9]'), true),
  condition(['exists', 'not_exists'], fc.constant(undefined), false),
  condition(['semver_eq', 'semver_gt', 'semver_gte', 'semver_lt', 'semver_lte'], fc.constantFrom('1.2.3', 'v2', '2.4-rc.1'), false),
  condition(['before', 'after'], fc.constantFrom<string | number>('2027-01-31', '2027-01-31T08:00:00Z', 1_800_000_000_000), false),
  condition(['in_cidr'], fc.constantFrom<string | string[]>('10.0.0.0/8', '::1', ['10.0.0.0/8', '192.168.0.1']), false)
)

function condition (operators: ReadonlyArray<Condition['operator']>, value: Arbitrary<unknown>, text: boolean): Arbitrary<Condition> {
  return fc.record({
    attribute: fc.constantFrom('plan', 'age', 'app.version', 'region', 'ip'),
    operator: fc.constantFrom(...operators),
    value,
    ignoreCase: text ? fc.constantFrom(undefined, true, false) : fc.constant(undefined)
  }).map((condition) => JSON.parse(JSON.stringify(condition)))
}

/** Any valid `when`, a few levels deep. */
export const arbitraryWhen: Arbitrary<When> = fc.letrec<{ when: When }>((tie) => ({
  when: fc.oneof({ depthSize: 'small', maxDepth: 4 },
    arbitraryCondition,
    fc.constantFrom(...Object.keys(neighbours.segments)).map((segment) => ({ segment })),
    tie('when').map((not) => ({ not })),
    fc.array(tie('when'), { minLength: 1, maxLength: 3 }).map((all) => ({ all })),
    fc.array(tie('when'), { minLength: 1, maxLength: 3 }).map((any) => ({ any }))
  )
})).when

const arbitraryGuard: Arbitrary<Guard> = fc.record({
  errors: fc.record({ atMost: fc.constantFrom(1, 1.5) }, { requiredKeys: [] }),
  latency: fc.record({ overMs: fc.integer({ min: 1, max: 5000 }) }),
  goal: fc.constant({ name: 'purchase' }),
  minimum: fc.integer({ min: 1, max: 500 }),
  action: fc.constantFrom('rollback', 'pause')
}, { requiredKeys: ['errors'] })

function arbitraryServe ({ flag, variants }: Named): Arbitrary<Serve> {
  const variant = fc.constantFrom(...variants)
  const what: Arbitrary<Draw> = fc.oneof(
    variant.map((variant) => ({ variant })),
    fc.tuple(...variants.map(() => fc.integer({ min: 0, max: 5 })))
      .filter((weights) => weights.some((weight) => weight > 0))
      .map((weights) => ({ split: Object.fromEntries(variants.map((variant, i) => [variant, weights[i]!])) })),
    ...(isBoolean(flag) ? [fc.constant({})] : [])
  )
  const howMany: Arbitrary<Draw> = fc.oneof(
    fc.constant({}),
    percentage.map((percentage) => ({ percentage })),
    fc.array(fc.record({ percentage, groups: fc.array(fc.constantFrom('beta', 'staff'), { maxLength: 2 }), hours: fc.integer({ min: 1, max: 48 }) }), { minLength: 1, maxLength: 4 })
      .map((stages) => ({ stages: stages.sort((a, b) => a.percentage - b.percentage) }))
  )
  const canBeGuarded = ({ stages, split, variant = 'on', otherwise = offVariantOf(flag) }: Draw) => stages?.some(isCompared) === true && (split !== undefined || variant !== otherwise)
  const more = fc.record({ guard: arbitraryGuard, otherwise: variant, by: fc.constantFrom('company', 'targetingKey'), seed: fc.constantFrom('s1', 's2') }, { requiredKeys: [] })
  const draw: Arbitrary<Draw> = fc.tuple(what, howMany, more).map((parts) => {
    const { guard, ...draw }: Draw = Object.assign({}, ...parts)
    return guard !== undefined && canBeGuarded(draw) ? { ...draw, guard } : draw
  })
  return fc.oneof(variant, draw)
}

function arbitrarySettings (named: Named): Arbitrary<Environment> {
  const { flag, variants } = named
  const variant = fc.constantFrom(...variants)
  const serve = arbitraryServe(named)
  const optional = (fields: string[]) => isBoolean(flag) ? fields.filter((field) => field !== 'variant' && field !== 'serve') : fields
  return fc.record({
    enabled: fc.boolean(),
    prerequisites: fc.array(fc.constantFrom({ flag: 'plain' }, { flag: 'plain', variant: 'off' }, { flag: 'colours', variant: 'red' }, { flag: 'colours', variant: 'green' }), { maxLength: 2 }),
    targets: fc.array(fc.record({ variant, users, groups: users, regions: users }, { requiredKeys: optional(['variant']) as ['variant'] }), { maxLength: 2 }),
    rules: fc.uniqueArray(fc.record({ name: fc.constantFrom('first', 'second'), when: arbitraryWhen, serve }, { requiredKeys: optional(['when', 'serve']) as ['when', 'serve'] }), { maxLength: 3, selector: ({ name }) => name ?? {} }),
    serve,
    experiment: fc.oneof(fc.record({ control: variant }, { requiredKeys: [] }), fc.record({ layer: name, range: fc.constantFrom<number[][]>([0, 50], [0.5, 90]), holdout: fc.constantFrom(0, 10) }, { requiredKeys: ['layer'] }))
  }, { requiredKeys: ['serve'] })
}

const values: Arbitrary<Array<Exclude<JsonValue, null>>> = fc.oneof(
  ...([fc.boolean(), fc.string(), fc.integer(), fc.array(fc.integer(), { maxLength: 2 }), fc.record({ layout: fc.string() })] as Array<Arbitrary<Exclude<JsonValue, null>>>)
    .map((value) => fc.array(value, { minLength: 1, maxLength: 4 }))
)

interface Named { flag: Pick<Flag, 'variants' | 'offVariant'>, variants: string[] }

const named: Arbitrary<Named> = fc.oneof(
  fc.constant<Named>({ flag: {}, variants: ['on', 'off'] }),
  fc.uniqueArray(name, { minLength: 1, maxLength: 4 }).map((variants) => ({ flag: { variants }, variants })),
  fc.tuple(values, fc.uniqueArray(name, { minLength: 4, maxLength: 4 })).map(([values, names]) => {
    const variants = Object.fromEntries(values.map((value, i) => [names[i]!, value]))
    return { flag: { variants, offVariant: names[0]! }, variants: Object.keys(variants) }
  })
)

/** Any valid flag among `neighbours`, in its short and long forms. Its environments are `production` and `staging`. */
export const arbitraryFlag: Arbitrary<Flag> = named.chain(({ flag, variants }) => {
  const settings = arbitrarySettings({ flag, variants })
  const about = fc.record({
    description: fc.string(),
    owner: fc.constant('growth'),
    tags: fc.constant(['checkout']),
    metadata: fc.constant({ ticket: 'PAY-12', cost: 3, big: false }),
    expiresAt: fc.constant('2027-01-31T00:00:00Z'),
    public: fc.boolean()
  }, { requiredKeys: [] })
  const deciding: Arbitrary<Partial<Flag>> = fc.oneof(settings, fc.record({
    enabled: fc.boolean(),
    environments: fc.record({ production: settings, staging: settings }, { requiredKeys: [] })
  }, { requiredKeys: ['environments'] }))
  return fc.tuple(about, deciding).map(([about, deciding]) => JSON.parse(JSON.stringify({ ...about, ...flag, ...deciding })))
})
