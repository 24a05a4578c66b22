import t from 'tap'
import type { Flag } from '../src/model/flag.js'
import { disabledBy, drawOf, environmentOf, isBoolean, isSwitchedOn, offVariantOf, variantMeant, variantsOf } from '../src/model/meaning.js'
import { compilePattern, readMoment, readNumber, readRange, readVersion } from '../src/model/readings.js'
import { namedBy } from '../src/model/references.js'

t.test('a flag without variants is on or off; a list of names is its own values; an object is as it says', (t) => {
  t.same([...variantsOf({})], [['on', true], ['off', false]])
  t.same([...variantsOf({ variants: ['b', 'a'] })], [['b', 'b'], ['a', 'a']])
  t.same([...variantsOf({ variants: { big: { size: 2 }, small: { size: 1 } } })], [['big', { size: 2 }], ['small', { size: 1 }]])
  t.same([isBoolean({}), isBoolean({ variants: ['on', 'off'] })], [true, false])
  t.equal(offVariantOf({}), 'off')
  t.equal(offVariantOf({ offVariant: 'on' }), 'on')
  t.equal(offVariantOf({ variants: ['b', 'a'] }), 'b')
  t.equal(offVariantOf({ variants: { a: 1 }, offVariant: 'a' }), 'a')
  t.equal(offVariantOf({ variants: { a: 1 } }), undefined)
  t.same([variantMeant({}, undefined), variantMeant({}, 'off'), variantMeant({ variants: ['a'] }, undefined)], ['on', 'off', undefined])
  t.end()
})

t.test('a new flag is off; beside environments enabled is a kill switch that is on unless said', (t) => {
  const cases: Array<[Flag, ReturnType<typeof disabledBy>]> = [
    [{}, 'flag-disabled'],
    [{ enabled: false }, 'flag-disabled'],
    [{ enabled: true }, undefined],
    [{ environments: { production: { enabled: true } } }, undefined],
    [{ enabled: true, environments: { production: { enabled: true } } }, undefined],
    [{ enabled: false, environments: { production: { enabled: true } } }, 'flag-disabled'],
    [{ environments: { production: {} } }, 'environment-disabled'],
    [{ environments: { production: { enabled: false } } }, 'environment-disabled'],
    [{ environments: { staging: { enabled: true } } }, 'environment-missing'],
    [{ environments: {} }, 'environment-missing']
  ]
  for (const [flag, by] of cases) {
    t.equal(disabledBy(flag, 'production'), by, JSON.stringify(flag))
    t.equal(isSwitchedOn(flag), by !== 'flag-disabled')
  }
  t.end()
})

t.test('a flag without environments decides alike in each; a prototype\'s names are no environments', (t) => {
  const flag: Flag = { serve: 'on' }
  t.equal(environmentOf(flag, 'production'), flag)
  t.same(environmentOf({ environments: { production: { serve: 'on' } } }, 'production'), { serve: 'on' })
  for (const name of ['staging', 'constructor', 'toString', '__proto__']) t.equal(environmentOf({ environments: { production: {} } }, name), undefined, name)
  t.end()
})

t.test('a serve in its long form says what it serves', (t) => {
  t.same(drawOf({}, undefined), { variant: 'on' })
  t.same(drawOf({}, 'off'), { variant: 'off' })
  t.same(drawOf({}, { percentage: 5 }), { percentage: 5, variant: 'on' })
  t.same(drawOf({ variants: ['a'] }, { variant: 'a', by: 'company' }), { variant: 'a', by: 'company' })
  t.same(drawOf({}, { split: { on: 1 } }), { split: { on: 1 } })
  t.end()
})

t.test('a flag names its prerequisites and the segments of its rules, in every environment', (t) => {
  const { flags, segments } = namedBy({
    environments: {
      production: { prerequisites: [{ flag: 'a' }], rules: [{ when: { all: [{ segment: 's1' }, { not: { any: [{ segment: 's2' }] } }] } }] },
      staging: { prerequisites: [{ flag: 'b' }], rules: [{ when: { attribute: 'segment', operator: 'exists' } }] }
    }
  })
  t.same([...flags], ['a', 'b'])
  t.same([...segments], ['s1', 's2'])
  t.end()
})

t.test('values are read the same on every machine, or not at all', (t) => {
  const reads = (read: (value: unknown) => unknown, values: Array<[unknown, unknown]>) => {
    for (const [value, expected] of values) t.same(read(value), expected, `${read.name} ${String(value)}`)
  }
  reads(readNumber, [[2, 2], ['2', 2], [' 2.0 ', 2], ['-.5', -0.5], ['1e3', 1000], ['', undefined], [' ', undefined], ['0x10', undefined], ['1e999', undefined], [NaN, undefined], [true, undefined], [null, undefined], [[2], undefined]])
  const morning = Date.UTC(2027, 0, 31, 8)
  reads(readMoment, [[morning, morning], [new Date(morning), morning], ['2027-01-31', Date.UTC(2027, 0, 31)], ['2027-01-31T08:00:00Z', morning], ['2027-01-31T09:00+01:00', morning],
    ['2027-01-31T08:00:00', morning], ['2027-01-31 08:00:00.250Z', morning + 250], ['2027-02-29', undefined], ['2027-01-31T25:00Z', undefined], ['31.01.2027', undefined], ['5', undefined], [new Date(NaN), undefined], [true, undefined], ['', undefined]])
  reads((value) => readVersion(value)?.version, [['1.2.3', '1.2.3'], ['v1.2', '1.2.0'], ['2', '2.0.0'], ['2-rc.1', '2.0.0-rc.1'], ['1.2.3+build', '1.2.3'], [2, undefined], ['1.2.3.4', undefined], ['01.2.3', undefined], ['1.2.x', undefined], ['', undefined], [null, undefined]])
  reads(readRange, [['10.0.0.0/8', { address: '10.0.0.0', prefix: 8, family: 'ipv4' }], ['::1', { address: '::1', prefix: 128, family: 'ipv6' }], ['10.0.0.0/33', undefined], ['fe80::1%eth0/64', undefined], ['10.0.0.0/8/8', undefined], ['x', undefined], [10, undefined]])
  t.ok(compilePattern('^B', true).matcher('bc').find())
  t.throws(() => compilePattern('(?=x)'))
  t.end()
})
