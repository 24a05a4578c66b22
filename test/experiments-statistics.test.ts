import chiSquareCdf from '@stdlib/stats-base-dists-chisquare-cdf'
import exactNormalCdf from '@stdlib/stats-base-dists-normal-cdf'
import exactNormalQuantile from '@stdlib/stats-base-dists-normal-quantile'
import exactStudentCdf from '@stdlib/stats-base-dists-t-cdf'
import exactStudentQuantile from '@stdlib/stats-base-dists-t-quantile'
import t from 'tap'
import { chiSquareTail, normalCdf, normalQuantile, studentQuantile, studentTails } from '../src/experiments/distributions.js'
import { resultsOf } from '../src/experiments/results.js'
import type { Counts } from '../src/experiments/counts.js'
import { compareMeans, compareRates, rateInterval, sampleRatio, unitsForMean, unitsForRate, type Amounts, type Comparison, type Interval, type Rate } from '../src/experiments/statistics.js'
import { Chance } from './helpers/chance.js'

/** The largest relative difference over a grid. */
function worst<T> (grid: Iterable<T>, ours: (place: T) => number, exact: (place: T) => number): number {
  let most = 0
  for (const place of grid) {
    const [a, b] = [ours(place), exact(place)]
    if (a !== b) most = Math.max(most, Math.abs(a - b) / Math.abs(b))
  }
  return most
}

function * range (from: number, to: number, step: number): Generator<number> {
  for (let i = 0; from + i * step <= to; i++) yield from + i * step
}

t.test('the distributions agree with another library over a grid, tails included', (t) => {
  t.ok(worst(range(-37, 8, 0.0137), normalCdf, (x) => exactNormalCdf(x, 0, 1)) < 1e-12)
  const chances = [...range(0.001, 0.999, 0.001)].filter((p) => Math.abs(p - 0.5) > 1e-9)
  t.ok(worst(chances, normalQuantile, (p) => exactNormalQuantile(p, 0, 1)) < 1e-12)
  t.ok(worst(range(1, 300, 1), (i) => normalCdf(normalQuantile(10 ** -i)), (i) => 10 ** -i) < 1e-11) // where the other library is off by up to 0.0007
  t.same([0, 1, 2, NaN].map(normalQuantile), [-Infinity, Infinity, NaN, NaN])
  t.ok(Math.abs(normalQuantile(0.5)) < 1e-16)
  const students = [0.5, 1, 1.7, 2, 3, 5.5, 10, 29.3, 100, 1234.5, 1e5, 1e7].flatMap((freedom) => [...range(0.05, 30, 0.37)].map((t) => ({ t, freedom })))
    .filter(({ t, freedom }) => exactStudentCdf(-t, freedom) > 1e-200)
  t.ok(worst(students, ({ t, freedom }) => studentTails(t, freedom), ({ t, freedom }) => 2 * exactStudentCdf(-t, freedom)) < 1e-9)
  t.ok(worst(students.filter(({ freedom }) => freedom >= 1), ({ freedom }) => studentQuantile(0.05, freedom), ({ freedom }) => exactStudentQuantile(0.975, freedom)) < 1e-9)
  const squares = [1, 2, 3, 4, 7, 20, 99].flatMap((freedom) => [...range(0.01, 200, 0.73)].map((x) => ({ x, freedom })))
    .filter(({ x, freedom }) => chiSquareCdf(x, freedom) < 0.9999)
  t.ok(worst(squares, ({ x, freedom }) => chiSquareTail(x, freedom), ({ x, freedom }) => 1 - chiSquareCdf(x, freedom)) < 1e-10)
  t.end()
})

const z = (part: number, units: number): Rate => ({ conversions: part, units })
const round = (interval: Interval | null) => interval?.map((end) => Number(end.toFixed(4)))

t.test('intervals and tests give what is printed in the papers they come from', (t) => {
  t.same(round(rateInterval(z(81, 263))), [0.2553, 0.3662]) // Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3
  t.same(round(rateInterval(z(0, 20))), [0, 0.1611])
  t.same(round(compareRates(z(48, 80), z(56, 70)).differenceInterval), [0.0524, 0.3339]) // Newcombe 1998, table II, method 10, (a)
  t.same(round(compareRates(z(3, 10), z(9, 10)).differenceInterval), [0.1705, 0.8090]) // (b)
  t.same(round(compareRates(z(0, 29), z(5, 56)).differenceInterval), [-0.0381, 0.1926]) // (d)
  t.end()
})

t.test('what there is too little of to tell is null, and every number is finite', (t) => {
  const nothing: Comparison = { difference: null, differenceInterval: null, lift: null, liftInterval: null, pValue: null, alwaysValid: null }
  t.same(compareRates(z(0, 0), z(1, 2)), nothing)
  t.match(compareRates(z(0, 5), z(0, 7)), { difference: 0, lift: null, liftInterval: null, pValue: null, alwaysValid: null })
  t.match(compareRates(z(5, 5), z(7, 7)), { difference: 0, lift: 0, pValue: null })
  t.same(compareMeans({ units: 0, sum: 0, squares: 0 }, { units: 3, sum: 3, squares: 3 }), nothing)
  t.match(compareMeans({ units: 1, sum: 5, squares: 25 }, { units: 3, sum: 3, squares: 3 }), { difference: -4, differenceInterval: null, pValue: null })
  t.match(compareMeans({ units: 2, sum: 0.2, squares: 0.020000000000000004 }, { units: 2, sum: 0.2, squares: 0.020000000000000004 }), { difference: 0, pValue: null })
  t.same([unitsForRate(0, 0.1), unitsForRate(0.6, 1), unitsForRate(0.5, 0), unitsForRate(NaN, 0.1)], [null, null, null, null])
  t.same([sampleRatio([0, 0], [0.5, 0.5]), sampleRatio([5, 0], [1, 0]), sampleRatio([5, 1], [1, 0])], [null, null, 0])
  t.end()
})

/** In what part of so many trials it holds. */
function part (trials: number, holds: () => boolean): number {
  let held = 0
  for (let i = 0; i < trials; i++) if (holds()) held++
  return held / trials
}

const isWithin = (interval: Interval | null, truth: number) => interval !== null && interval[0] <= truth && truth <= interval[1]
const isNear = (found: number, wanted: number, reach: number) => Math.abs(found - wanted) <= reach

t.test('intervals of 95 % hold the truth in 95 % of simulated experiments, give or take one', (t) => {
  const chance = new Chance(2026)
  for (const [p, q, n, m] of [[0.1, 0.1, 1000, 1000], [0.05, 0.06, 2000, 2000], [0.3, 0.25, 500, 1500], [0.01, 0.02, 5000, 5000]] as const) {
    let [differences, lifts] = [0, 0]
    const trials = 8000
    for (let i = 0; i < trials; i++) {
      const { differenceInterval, liftInterval } = compareRates(z(chance.binomial(n, p), n), z(chance.binomial(m, q), m))
      if (isWithin(differenceInterval, q - p)) differences++
      if (isWithin(liftInterval, q / p - 1)) lifts++
    }
    for (const found of [differences, lifts]) t.ok(isNear(found / trials, 0.95, 0.01), `${p} and ${q}: ${found / trials}`)
  }
  const trials = 4000
  let [differences, lifts] = [0, 0]
  for (let i = 0; i < trials; i++) {
    const { differenceInterval, liftInterval } = compareMeans(amounts(chance, 800, 0.3, 10), amounts(chance, 600, 0.35, 12))
    if (isWithin(differenceInterval, 0.35 * 12 - 0.3 * 10)) differences++
    if (isWithin(liftInterval, 0.35 * 12 / (0.3 * 10) - 1)) lifts++
  }
  for (const found of [differences, lifts]) t.ok(isNear(found / trials, 0.95, 0.01), `means: ${found / trials}`)
  t.end()
})

/** Units some of which bring a value; the values are spread as an exponential distribution. */
function amounts (chance: Chance, units: number, rate: number, mean: number): Amounts {
  let [sum, squares] = [0, 0]
  for (let left = chance.binomial(units, rate); left > 0; left--) {
    const value = -mean * Math.log(1 - chance.next())
    sum += value
    squares += value * value
  }
  return { units, sum, squares }
}

/** Whether it is ever below 5 % in 100 looks, each after 100 more units a side. */
function everBelow (chance: Chance, p: number, q: number, value: (comparison: Comparison) => number | null): boolean {
  let [a, b] = [0, 0]
  for (let look = 1; look <= 100; look++) {
    a += chance.binomial(100, p)
    b += chance.binomial(100, q)
    if ((value(compareRates(z(a, look * 100), z(b, look * 100))) ?? 1) < 0.05) return true
  }
  return false
}

t.test('under no effect the always-valid p-value errs in at most 5 % though looked at 100 times, and still finds what is there', (t) => {
  const chance = new Chance(7)
  for (const [p, trials] of [[0.02, 1000], [0.1, 700], [0.5, 300]] as const) {
    const erred = part(trials, () => everBelow(chance, p, p, ({ alwaysValid }) => alwaysValid))
    t.ok(erred <= 0.05, `at ${p} in ${erred}`)
  }
  const plain = part(100, () => everBelow(chance, 0.1, 0.1, ({ pValue }) => pValue))
  t.ok(plain > 0.2, `a plain p-value errs in ${plain}`)
  const found = part(200, () => everBelow(chance, 0.1, 0.12, ({ alwaysValid }) => alwaysValid))
  t.ok(found > 0.9, `10 % that become 12 % are found in ${found}`)
  const erred = part(250, () => {
    let [a, b] = [amounts(chance, 0, 0.1, 1), amounts(chance, 0, 0.1, 1)]
    for (let look = 1; look <= 100; look++) {
      a = added(a, amounts(chance, 50, 0.3, 10))
      b = added(b, amounts(chance, 50, 0.3, 10))
      if ((compareMeans(a, b).alwaysValid ?? 1) < 0.05) return true
    }
    return false
  })
  t.ok(erred <= 0.05, `of means in ${erred}`)
  t.end()
})

function added (a: Amounts, b: Amounts): Amounts {
  return { units: a.units + b.units, sum: a.sum + b.sum, squares: a.squares + b.squares }
}

t.test('the units said to be needed find the effect in 80 of 100 experiments', (t) => {
  const chance = new Chance(80)
  for (const [p, lift, ratio] of [[0.1, 0.2, 1], [0.3, -0.1, 1], [0.05, 0.5, 0.25]] as const) {
    const units = unitsForRate(p, lift, ratio)!
    const others = Math.round(units * ratio)
    const found = part(4000, () => compareRates(z(chance.binomial(units, p), units), z(chance.binomial(others, p * (1 + lift)), others)).pValue! < 0.05)
    t.ok(isNear(found, 0.8, 0.025), `${p} by ${lift}: ${found}`)
  }
  const seen = amounts(chance, 100_000, 0.3, 10)
  const units = unitsForMean(seen, 0.3)!
  const found = part(2000, () => compareMeans(amounts(chance, units, 0.3, 10), amounts(chance, units, 0.3, 13)).pValue! < 0.05)
  t.ok(isNear(found, 0.8, 0.035), `means: ${found}`)
  t.end()
})

t.test('sizes that chance brings are not suspect, sizes that it does not bring are', (t) => {
  const chance = new Chance(1)
  const sizes = (units: number, share: number): [number, number] => { const a = chance.binomial(units, share); return [a, units - a] }
  t.ok(part(10_000, () => sampleRatio(sizes(2000, 0.3), [0.3, 0.7])! < 0.001) <= 0.002)
  t.ok(part(1000, () => sampleRatio(sizes(20_000, 0.48), [0.5, 0.5])! < 0.001) > 0.98)
  t.end()
})

t.test('results hold each variant against the control and shout when sizes are wrong', (t) => {
  const goal = (conversions: number, sum = 0, squares = 0) => ({ conversions, sum, squares })
  const counts: Counts = {
    variants: {
      a: { units: 5000, exposures: 9000, switched: 3, goals: { signup: goal(550), purchase: goal(100, 2000, 60_000) } },
      old: { units: 5100, exposures: 9100, switched: 0, goals: { signup: goal(500), purchase: goal(90, 1700, 50_000), ['__proto__']: goal(1) } },
      b: { units: 0, exposures: 0, switched: 0, goals: {} }
    },
    days: [],
    shares: { old: 0.5, a: 0.5, b: 0 },
    since: Date.UTC(2026, 10, 20),
    ignored: { unexposed: 7, goals: 0 }
  }
  const results = resultsOf(counts, 'old', 0.2)
  t.match(results, { control: 'old', effect: 0.2, since: '2026-11-20T00:00:00.000Z', warnings: [], sampleRatio: { isSuspect: false, expected: { old: 5050, a: 5050, b: 0 } }, ignored: { unexposed: 7 } })
  t.same(Object.keys(results.variants), ['old', 'a', 'b'])
  const { signup, purchase } = results.variants.a!.goals
  t.equal(results.variants.old!.goals.signup!.against, undefined)
  t.same(signup!.against!.rate, { ...compareRates(z(500, 5100), z(550, 5000)), unitsNeeded: 0 })
  t.equal(signup!.against!.mean, undefined, 'nothing had a value')
  t.match(purchase!.against!.mean, compareMeans({ units: 5100, sum: 1700, squares: 50_000 }, { units: 5000, sum: 2000, squares: 60_000 }))
  t.ok(purchase!.against!.rate.unitsNeeded! > 30_000)
  t.match(results.variants.b!.goals.signup, { rate: null, rateInterval: null, mean: null, against: { rate: { pValue: null, unitsNeeded: null } } })
  t.doesNotThrow(() => JSON.stringify(results, (_name, value) => { if (typeof value === 'number' && !Number.isFinite(value)) throw new Error('not JSON'); return value }))
  const wrong = resultsOf({ ...counts, variants: { ...counts.variants, a: { ...counts.variants.a!, units: 4000 } } }, 'old')
  t.match(wrong.warnings, [/^SAMPLE RATIO MISMATCH \(p = .*a has 4000 units where about 4550 were to be expected/])
  t.match(resultsOf({ ...counts, shares: null }, 'old'), { sampleRatio: null, warnings: [] })
  t.match(resultsOf({ ...counts, variants: { a: counts.variants.a! } }, 'old'), { variants: { a: { units: 5000 } } })
  t.end()
})
