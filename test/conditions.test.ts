import fc from 'fast-check'
import t from 'tap'
import { operators, type Condition, type When } from '../src/model/condition.js'
import type { EvaluationContext } from '../src/model/context.js'
import type { Segment } from '../src/model/segment.js'
import { evaluate, holds, matches } from './helpers/evaluate.js'

type Case = [operator: string, value: unknown, attribute: unknown, holds: boolean, more?: Partial<Condition>]
const yes = true
const no = false
const anyCase = { ignoreCase: true }

const cases: Case[] = [
  // eq and ne: the same text, or the same number when either side is one
  ['eq', 'pro', 'pro', yes], ['eq', 'pro', 'Pro', no], ['eq', 'pro', 'Pro', yes, anyCase], ['eq', '', '', yes], ['eq', 'x', '', no],
  ['eq', 2, 2, yes], ['eq', 2, '2', yes], ['eq', 2, '2.0', yes], ['eq', '2', 2, yes], ['eq', '2.0', 2, yes], ['eq', '2', '2.0', no], ['eq', 1e21, '1e+21', yes], ['eq', 0, -0, yes], ['eq', '-0', 0, yes],
  ['eq', 2, 'two', no], ['eq', 0, '', no], ['eq', 0, ' ', no], ['eq', 16, '0x10', no], ['eq', 'Infinity', Infinity, no], ['eq', 'NaN', NaN, no],
  ['eq', true, true, yes], ['eq', true, false, no], ['eq', true, 'true', yes], ['eq', 'true', true, yes], ['eq', 'TRUE', true, no], ['eq', 'TRUE', true, yes, anyCase], ['eq', 1, true, no], ['eq', true, 1, no], ['eq', '1', true, no], ['eq', 0, false, no],
  ['eq', 'a', ['b', 'a'], yes], ['eq', 'a', [], no], ['eq', 2, ['1', '2'], yes], ['eq', 'a', [['a']], no], ['eq', 'a', { a: 'a' }, no], ['eq', '[object Object]', {}, no], ['eq', 'null', null, no], ['eq', 'undefined', undefined, no],
  ['eq', '2026-01-01T00:00:00.000Z', new Date('2026-01-01'), yes],
  ['eq', 'é', 'e\u0301', no], ['eq', 'ΟΔΟΣ', 'οδοσ', yes, anyCase], ['eq', 'straße', 'STRASSE', no, anyCase],
  ['ne', 'pro', 'free', yes], ['ne', 'pro', 'pro', no], ['ne', 'pro', 'Pro', yes], ['ne', 'pro', 'Pro', no, anyCase], ['ne', 2, '2.0', no], ['ne', 1, true, yes], ['ne', true, 'true', no],
  ['ne', 'pro', undefined, no], ['ne', 'pro', null, no], ['ne', 'pro', {}, no], ['ne', 'pro', NaN, no], ['ne', 'pro', 0, yes], ['ne', 'pro', '', yes], ['ne', 'pro', false, yes],
  ['ne', 'a', ['b', 'c'], yes], ['ne', 'a', ['b', 'a'], no], ['ne', 'a', [], yes],

  // in and not_in
  ['in', ['a', 'b'], 'b', yes], ['in', ['a', 'b'], 'c', no], ['in', ['A'], 'a', no], ['in', ['A'], 'a', yes, anyCase], ['in', [], 'a', no], ['in', [], undefined, no],
  ['in', [1, 2], 2, yes], ['in', [1, 2], '2.0', yes], ['in', ['1', '2.0'], 2, yes], ['in', ['2.0'], '2', no], ['in', ['1', 2], '1.0', no], ['in', [1, 'b'], 'b', yes],
  ['in', [true], 'true', yes], ['in', ['true'], true, yes], ['in', [1], true, no], ['in', [true], 1, no], ['in', ['a'], ['x', 'a'], yes], ['in', ['a'], [], no], ['in', ['a'], {}, no], ['in', ['constructor'], 'toString', no],
  ['in', ['a', 1], [null, { a: 1 }, 1], yes],
  ['not_in', ['a', 'b'], 'c', yes], ['not_in', ['a', 'b'], 'a', no], ['not_in', [], 'a', yes], ['not_in', [], undefined, no], ['not_in', [], null, no], ['not_in', [], [], yes], ['not_in', [2], '2.0', no], ['not_in', ['a'], ['b', 'a'], no], ['not_in', ['a'], ['b'], yes], ['not_in', ['a'], {}, no], ['not_in', ['A'], 'a', no, anyCase],

  // gt, gte, lt, lte
  ['gt', 30, 31, yes], ['gt', 30, 30, no], ['gte', 30, 30, yes], ['lt', 30, 29.9, yes], ['lt', 30, 30, no], ['lte', 30, 30, yes], ['gt', '30', '31', yes], ['gt', 9, '10', yes], ['gt', -1, '-0.5', yes], ['lt', 1e3, '1e2', yes],
  ['gt', 0, 'x', no], ['lt', 1, '', no], ['lt', 1, null, no], ['lt', 1, undefined, no], ['gt', 0, true, no], ['lt', 5, [7, 3], yes], ['lt', 5, [7, 'x'], no], ['gt', 0, Infinity, no], ['gt', 0, NaN, no], ['gt', 0, {}, no], ['gt', 0, '0x10', no], ['gt', 0, '1,000', no],

  // texts
  ['contains', 'ell', 'hello', yes], ['contains', 'ELL', 'hello', no], ['contains', 'ELL', 'hello', yes, anyCase], ['contains', '', 'x', yes], ['contains', 'x', '', no], ['contains', 'a', ['xay'], yes], ['contains', 'a', ['x', 'y'], no], ['contains', ['x', 'l'], 'hello', yes], ['contains', ['x', 'y'], 'hello', no], ['contains', [], 'hello', no],
  ['contains', '4', 42, no], ['contains', 'ru', true, no], ['contains', 'a', undefined, no], ['contains', 'a', { a: 'a' }, no],
  ['not_contains', 'x', 'hello', yes], ['not_contains', 'ell', 'hello', no], ['not_contains', 'ELL', 'hello', no, anyCase], ['not_contains', 'x', undefined, no], ['not_contains', 'x', null, no], ['not_contains', 'x', 42, no], ['not_contains', 'x', ['a', 'b'], yes], ['not_contains', 'x', ['a', 'xb'], no], ['not_contains', 'x', [], yes],
  ['starts_with', 'he', 'hello', yes], ['starts_with', 'el', 'hello', no], ['starts_with', 'HE', 'hello', yes, anyCase], ['starts_with', ['x', 'he'], 'hello', yes], ['starts_with', '4', 42, no], ['starts_with', 'a', ['ba', 'ab'], yes], ['starts_with', 'ΟΔΟΣ', 'ΟΔΟΣΑ', yes, anyCase],
  ['ends_with', '@x.com', 'a@x.com', yes], ['ends_with', '@X.com', 'a@x.com', no], ['ends_with', '@X.com', 'a@x.com', yes, anyCase], ['ends_with', ['@y.com', '@x.com'], 'a@x.com', yes], ['ends_with', 'o', undefined, no],
  ['matches', '^h.*o$', 'hello', yes], ['matches', 'll', 'hello', yes], ['matches', '^ll', 'hello', no], ['matches', 'HELLO', 'hello', no], ['matches', 'HELLO', 'hello', yes, anyCase], ['matches', ['^x', 'o$'], 'hello', yes], ['matches', '.', '', no], ['matches', '4', 42, no], ['matches', '^\\d+$', ['x', '12'], yes], ['matches', '(a+)+$', `${'a'.repeat(5000)}!`, no],

  // exists, not_exists
  ['exists', undefined, 'x', yes], ['exists', undefined, '', yes], ['exists', undefined, 0, yes], ['exists', undefined, false, yes], ['exists', undefined, [], yes], ['exists', undefined, {}, yes], ['exists', undefined, null, no], ['exists', undefined, undefined, no],
  ['not_exists', undefined, undefined, yes], ['not_exists', undefined, null, yes], ['not_exists', undefined, 'x', no], ['not_exists', undefined, [], no],

  // semver
  ['semver_eq', '2.4.0', '2.4.0', yes], ['semver_eq', '2.4.0', 'v2.4.0', yes], ['semver_eq', 'v2.4', '2.4.0', yes], ['semver_eq', '2', '2.0.0', yes], ['semver_eq', '2.4.0', '2.4.0+build.7', yes], ['semver_eq', '2.4.0+a', '2.4.0+b', yes], ['semver_eq', '2.4.0', '2.4.0-rc.1', no],
  ['semver_gt', '2.9.0', '2.10.0', yes], ['semver_gt', '2.10.0', '2.10.0', no], ['semver_gte', '2.10.0', '2.10.0', yes], ['semver_lt', '2.4.0', '2.4.0-rc.1', yes], ['semver_lt', '1.0.0-beta.11', '1.0.0-beta.2', yes], ['semver_lt', '1.0.0-alpha.1', '1.0.0-alpha', yes], ['semver_lt', '1.0.0-alpha.beta', '1.0.0-alpha.1', yes], ['semver_lte', '2.4', '2.4.0', yes],
  ['semver_gt', '1.0.0', 2, no], ['semver_gt', '1.0.0', 2.1, no], ['semver_gt', '1.0.0', '2.0.0.1', no], ['semver_gt', '1.0.0', 'x', no], ['semver_lt', '1.0.0', '', no], ['semver_lt', '1.0.0', undefined, no], ['semver_gt', '1.0.0', ['0.1.0', '1.2.0'], yes], ['semver_gt', '1.0.0', '02.0.0', no],

  // dates
  ['before', '2026-06-01T00:00:00Z', '2026-05-31T23:59:59Z', yes], ['before', '2026-06-01T00:00:00Z', '2026-06-01T00:00:00Z', no], ['after', '2026-06-01T00:00:00Z', '2026-06-01T00:00:00.001Z', yes], ['after', '2026-06-01', '2026-06-02', yes],
  ['after', '2026-06-01T00:00:00Z', '2026-06-01T01:00:00+02:00', no], ['before', '2026-06-01T00:00:00Z', '2026-06-01T01:00:00+02:00', yes], ['before', '2026-06-01T00:00:00Z', Date.UTC(2026, 4, 31), yes], ['after', Date.UTC(2026, 5, 1), '2026-06-01T00:00:01Z', yes], ['before', '2026-06-01', new Date('2026-05-01'), yes], ['before', '2026-06-01', new Date(NaN), no],
  ['before', '2026-06-01T12:00:00', '2026-06-01T12:00:00Z', no], ['before', '2026-06-01', 'yesterday', no], ['before', '2026-06-01', '2026-02-30', no], ['before', '2026-06-01', null, no], ['before', '2026-06-01', true, no], ['before', '2026-06-01', ['x', '2026-01-01'], yes],

  // addresses
  ['in_cidr', '10.0.0.0/8', '10.20.30.40', yes], ['in_cidr', '10.0.0.0/8', '11.0.0.1', no], ['in_cidr', ['192.168.0.0/16', '10.0.0.0/8'], '10.1.1.1', yes], ['in_cidr', '10.1.2.3', '10.1.2.3', yes], ['in_cidr', '10.1.2.3', '10.1.2.4', no], ['in_cidr', '10.9.9.9/8', '10.1.1.1', yes], ['in_cidr', '0.0.0.0/0', '8.8.8.8', yes],
  ['in_cidr', '2001:db8::/32', '2001:db8::1', yes], ['in_cidr', '2001:db8::/32', '2001:DB8:0:0::1', yes], ['in_cidr', '2001:db8::/32', '2001:db9::1', no], ['in_cidr', '10.0.0.0/8', '::ffff:10.1.1.1', yes], ['in_cidr', '::ffff:10.0.0.0/104', '10.1.1.1', yes], ['in_cidr', '0.0.0.0/0', '::1', no],
  ['in_cidr', '10.0.0.0/8', 'localhost', no], ['in_cidr', '10.0.0.0/8', '10.0.0.256', no], ['in_cidr', '10.0.0.0/8', '', no], ['in_cidr', '10.0.0.0/8', 10, no], ['in_cidr', '10.0.0.0/8', undefined, no], ['in_cidr', '10.0.0.0/8', ['1.1.1.1', '10.0.0.1'], yes]
]

for (const operator of operators) {
  t.test(operator, async (t) => {
    for (const [name, value, attribute, expected, more] of cases) {
      if (name !== operator) continue
      const text = `${JSON.stringify(attribute) ?? 'missing'} ${operator} ${JSON.stringify(value) ?? ''}${more === undefined ? '' : ', ignoring case'}`
      t.equal(holds(operator, value, attribute, more), expected, `${text}: ${expected ? 'holds' : 'does not hold'}`)
      const condition = { attribute: 'a', operator, value, ...more } as Condition
      t.equal(matches({ not: condition }, attribute === undefined ? {} : { a: attribute } as EvaluationContext), !expected, `not (${text})`)
    }
  })
}

t.test('attributes are own properties, looked up whole first and then as a path', async (t) => {
  const eq = (attribute: string, value: string, context: unknown) => matches({ attribute, operator: 'eq', value }, context as EvaluationContext)
  t.ok(eq('company.plan', 'pro', { company: { plan: 'pro' } }))
  t.ok(eq('company.plan', 'pro', { 'company.plan': 'pro', company: { plan: 'free' } }))
  t.ok(eq('a.b.c', 'x', { a: { b: { c: 'x' } } }))
  t.ok(eq('items.1', 'y', { items: ['x', 'y'] }))
  t.notOk(eq('company.plan', 'pro', { company: 'pro' }))
  t.notOk(eq('company.plan', 'pro', { company: null }))
  t.notOk(eq('company.plan', 'pro', {}))
  t.notOk(eq('name.length', '3', { name: 'abc' }))
  for (const name of ['constructor', '__proto__', 'toString', 'hasOwnProperty', 'constructor.name', 'a.constructor', 'a.__proto__']) {
    t.notOk(matches({ attribute: name, operator: 'exists' }, { a: {} }), `${name} is not there`)
    t.ok(matches({ attribute: name, operator: 'not_exists' }, { a: {} }), `${name} is not there`)
  }
  t.ok(eq('constructor', 'x', { constructor: 'x' }))
  t.ok(eq('__proto__', 'x', JSON.parse('{ "__proto__": "x" }')))
  t.ok(eq('a.__proto__', 'x', JSON.parse('{ "a": { "__proto__": "x" } }')))
  t.ok(eq('plan', 'pro', Object.assign(Object.create(null), { plan: 'pro' })))
  t.ok(eq('targetingKey', 'u', { targetingKey: 'u' }))
  t.ok(eq('groups', 'beta', { groups: ['alpha', 'beta'] }))
})

const pro: When = { attribute: 'plan', operator: 'eq', value: 'pro' }
const eu: When = { attribute: 'region', operator: 'eq', value: 'eu' }
const both = { plan: 'pro', region: 'eu' }

t.test('all, any and not nest', async (t) => {
  t.ok(matches({ all: [pro, eu] }, both))
  t.notOk(matches({ all: [pro, eu] }, { plan: 'pro' }))
  t.ok(matches({ any: [pro, eu] }, { region: 'eu' }))
  t.notOk(matches({ any: [pro, eu] }, {}))
  t.ok(matches({ not: { any: [pro, eu] } }, {}))
  t.ok(matches({ all: [pro, { not: { attribute: 'x', operator: 'exists' } }, { any: [eu, { not: pro }] }] }, both))
  t.ok(matches({ all: [pro, pro, pro, pro, eu] }, both))
  t.notOk(matches({ all: [pro, pro, pro, pro, { not: eu }] }, both))
})

t.test('segments stand for what they ask, also in one another', async (t) => {
  const segments: Record<string, Segment> = { pro: { when: pro }, 'pro-eu': { when: { all: [{ segment: 'pro' }, eu] } } }
  t.ok(matches({ segment: 'pro-eu' }, both, segments))
  t.notOk(matches({ segment: 'pro-eu' }, { plan: 'pro' }, segments))
  t.ok(matches({ not: { segment: 'pro-eu' } }, { plan: 'pro' }, segments))
  t.ok(matches({ all: [{ segment: 'pro' }, { segment: 'pro' }, { segment: 'pro-eu' }] }, both, segments), 'named twice is no cycle')
})

t.test('many ordinary patterns on an ordinary text are not too much', async (t) => {
  const browser = 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1 App/12.3.4 (build 5512; de_DE)'
  const pattern = '(?i)(android|ipad|blackberry|opera mini|windows phone|webos|kindle|silk)'
  const rules = Array.from({ length: 15 }, () => ({ when: { attribute: 'browser', operator: 'matches', value: pattern } as const, serve: 'off' }))
  t.match(evaluate({ enabled: true, serve: 'on', rules }, { browser }).details, { variant: 'on', reason: 'DEFAULT' })
})

t.test('each segment is asked once, however many ways lead to it', async (t) => {
  const segments: Record<string, Segment> = { s60: { when: pro } }
  for (let i = 0; i < 60; i++) segments[`s${i}`] = { when: { all: [{ segment: `s${i + 1}` }, { not: { not: { segment: `s${i + 1}` } } }] } }
  t.ok(matches({ segment: 's0' }, both, segments)) // 2^60 ways would never end
  t.notOk(matches({ segment: 's0' }, {}, segments))
})

t.test('a rule that holds anything this version cannot evaluate does not match, wherever that stands', async (t) => {
  const segments: Record<string, Segment> = {
    good: { when: pro },
    self: { when: { segment: 'self' } },
    one: { when: { any: [pro, { segment: 'two' }] } },
    two: { when: { not: { segment: 'one' } } },
    dangling: { when: { any: [pro, { segment: 'missing' }] } },
    newer: { when: { any: [pro, { attribute: 'plan', operator: 'resembles', value: 'pro' }] } as unknown as When }
  }
  const unevaluable: unknown[] = [
    { attribute: 'plan', operator: 'resembles', value: 'pro' }, { attribute: 'plan', operator: 'constructor', value: 'pro' }, { attribute: 'plan', operator: 'eq', value: 'pro', locale: 'de' },
    { attribute: 'plan', operator: 'eq' }, { attribute: 'plan', operator: 'eq', value: ['pro'] }, { attribute: 'plan', operator: 'eq', value: null }, { attribute: 'plan', operator: 'in', value: 'pro' }, { attribute: 'plan', operator: 'not_in', value: 'x' }, { attribute: 'plan', operator: 'gt', value: 'many' }, { attribute: 'plan', operator: 'matches', value: '(' }, { attribute: 'plan', operator: 'matches', value: '(?=a)' },
    { attribute: 'plan', operator: 'semver_eq', value: '1.2.3.4' }, { attribute: 'plan', operator: 'in_cidr', value: '10.0.0.0/33' }, { attribute: 'plan', operator: 'before', value: 'soon' }, { attribute: 'plan', operator: 'contains', value: 1 },
    {}, { all: [] }, { any: [] }, { all: [pro], any: [eu] }, { xor: [pro, eu] }, { all: pro }, { segment: 7 }, null, 'pro', [pro], 7,
    { segment: 'missing' }, { segment: 'self' }, { segment: 'one' }, { segment: 'two' }, { segment: 'dangling' }, { segment: 'newer' }, { segment: 'constructor' }
  ]
  for (const part of unevaluable as When[]) {
    for (const when of [part, { not: part }, { any: [pro, part] }, { any: [part, pro] }, { not: { all: [{ not: pro }, part] } }, { not: { not: { any: [pro, { not: part }] } } }]) {
      t.notOk(matches(when as When, both, segments), JSON.stringify(when))
    }
  }
  t.ok(matches({ any: [{ segment: 'good' }] }, both, segments))
  const { details } = evaluate({ enabled: true, serve: 'off', rules: [{ when: unevaluable[0] as When, serve: 'on' }, { when: pro, serve: 'on' }] }, both)
  t.equal(details.flagMetadata.rule, '1', 'the next rule is asked')
})

t.test('negative operators and their positive ones are opposites wherever the attribute can be read', async () => {
  const scalar = fc.oneof(fc.string(), fc.integer(), fc.double(), fc.boolean(), fc.constantFrom('2', '2.0', 2, 'true', true, ''))
  const attribute = fc.oneof(scalar, fc.array(scalar), fc.constant(null), fc.constant(undefined), fc.constant({}))
  const expected = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constantFrom('2', '2.0', 2, 'true', true))
  const isReadable = (value: unknown) => value !== null && value !== undefined && !(typeof value === 'object' && !Array.isArray(value)) && !(typeof value === 'number' && !Number.isFinite(value))
  fc.assert(fc.property(attribute, expected, fc.boolean(), (attribute, value, ignoreCase) =>
    holds('eq', value, attribute, { ignoreCase }) !== holds('ne', value, attribute, { ignoreCase }) || !isReadable(attribute)))
  fc.assert(fc.property(attribute, fc.array(expected), fc.boolean(), (attribute, value, ignoreCase) =>
    holds('in', value, attribute, { ignoreCase }) !== holds('not_in', value, attribute, { ignoreCase }) || !isReadable(attribute)))
  fc.assert(fc.property(attribute, fc.array(expected), (attribute, value) =>
    holds('in', value, attribute) === value.some((one) => holds('eq', one, attribute))))
})

t.test('no operator throws at whatever a context holds', async (t) => {
  const values: Record<string, unknown> = { matches: 'a', in_cidr: '10.0.0.0/8', before: '2026-01-01', after: 0, semver_eq: '1.0.0', semver_gt: '1', semver_gte: '1', semver_lt: '1', semver_lte: '1', gt: 1, gte: 1, lt: 1, lte: 1, in: ['a', 1], not_in: ['a', 1] }
  fc.assert(fc.property(fc.constantFrom(...operators), fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true, withSparseArray: true }), fc.boolean(), (operator, attribute, ignoreCase) => {
    const { details } = evaluate({ enabled: true, serve: 'off', rules: [{ when: { attribute: 'a', operator, value: values[operator] ?? 'a', ignoreCase } as Condition, serve: 'on' }] }, { a: attribute } as EvaluationContext)
    return details.errorCode === undefined
  }), { numRuns: 2000 })
})
