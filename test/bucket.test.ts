import fc from 'fast-check'
import t from 'tap'
import { foldFor, hash as hashAfter, isBelow, percentageOf, Split, thresholdOf, type Fold, type Purpose } from '../src/evaluation/bucket.js'
import { evaluate, snapshotOf, subjectOf, ask } from './helpers/evaluate.js'

const people = 100_000
const users = Array.from({ length: people }, (_, i) => `user-${i}`)
const hash = ({ state, length }: Fold, value: string) => hashAfter(state, length, value)
const hashesOf = (seed: string, purpose: Purpose) => {
  const fold = foldFor(seed, purpose)
  return users.map((user) => hash(fold, user))
}
const unsigned = (seed: string, purpose: Purpose, value: string) => hash(foldFor(seed, purpose), value) >>> 0

/** The variant each hash is given, as an index into the names. */
const picks = (weights: Record<string, number>, hashes: number[]) => {
  const split = new Split(Object.entries(weights).map(([name, weight]) => ({ name, weight, outcome: name })))
  return hashes.map((hash) => split.pick(hash))
}
const shareOf = (holds: (index: number) => boolean) => users.reduce((count, _, index) => count + (holds(index) ? 1 : 0), 0) / people

/** Within five standard deviations of a share of all people. */
const isNear = (share: number, expected: number, of = people) => Math.abs(share - expected) < 5 * Math.sqrt(expected * (1 - expected) / of)

t.test('hashes are pinned, to the bit', async (t) => {
  // Made by another implementation (Python, mmh3 5.3.1) over the bytes that DESIGN names; a change here moves users.
  const values = ['u', 'user_123', 'ab', 'abc', 'abcd', '', '7f6c1b9e-0f3a-4a7e-9a55-0c2f1f6f3c11', 'é', '日本語', 'a😀b', '\ud800', 'x\udc00y', 'ünïcödé-user', '\u0000', 'a'.repeat(257)]
  const pinned: Record<string, { rollout: number[], split: number[] }> = {
    new_search: {
      rollout: [1780869075, 3047190632, 3252018778, 570648146, 1084358409, 1757137197, 2530364265, 1341002508, 4032169500, 1964519048, 1131344, 1747703734, 3131663749, 1844985242, 1686930605],
      split: [48061865, 607787482, 883765922, 3012038652, 1820049007, 1407802192, 2215925978, 2334771936, 2841959637, 697470741, 759269223, 2069128112, 3209526714, 3557895751, 2266489013]
    },
    'pricing-2026': {
      rollout: [4092722281, 267007030, 911948149, 524587134, 3648626786, 2300795669, 2514141461, 2438729835, 3773544781, 258916678, 1677706393, 2545756120, 4048550298, 770987963, 2642598153],
      split: [2690731328, 2729510768, 3746159351, 2483631355, 461578538, 685519510, 1150597511, 345464876, 542510838, 307413299, 1002564943, 3878242632, 3411936663, 3734409720, 1216209033]
    },
    ключ: {
      rollout: [3124219992, 1499172168, 2894718958, 2651641205, 1951042475, 1424605965, 165631564, 892548441, 3581540346, 1902217708, 975591036, 1714808180, 1962629042, 517021573, 2137220730],
      split: [2024541981, 2292967123, 2558939191, 928402650, 116936144, 3226407093, 1111727835, 1826569035, 3043043952, 888929249, 69422100, 3535663908, 1060645824, 2065418481, 128237759]
    }
  }
  for (const [seed, { rollout, split }] of Object.entries(pinned)) {
    t.same(values.map((value) => unsigned(seed, 'rollout', value)), rollout)
    t.same(values.map((value) => unsigned(seed, 'split', value)), split)
  }
})

t.test('the variants of a split are pinned', async (t) => {
  // By the same program, with exact logarithms instead of the table.
  const pinned: Array<[seed: string, weights: Record<string, number>, picks: string]> = [
    ['pricing', { control: 50, variant_a: 25, variant_b: 25 }, '0210010110100000211200020122000221202010000000120121020020111010'],
    ['x', { a: 1, b: 2, c: 0, d: 3.5 }, '1003303310133303333330331313033110030300011333133133331333313033'],
    ['y', { on: 10, off: 90 }, '1011111111111110111111111110111111011111111111111111101011111111']
  ]
  for (const [seed, weights, expected] of pinned) {
    const names = Object.keys(weights)
    const hashes = Array.from(expected, (_, i) => hash(foldFor(seed, 'split'), `user-${i}`))
    t.equal(picks(weights, hashes).map((name) => names.indexOf(name)).join(''), expected)
  }
})

t.test('a text hashes as its UTF-8, however it is composed', async () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => {
    // What UTF-8 makes of it: lone surrogates are U+FFFD.
    return hash(foldFor('s', 'rollout'), text) === hash(foldFor('s', 'rollout'), Buffer.from(text).toString())
  }))
  fc.assert(fc.property(fc.array(fc.integer({ min: 0, max: 0xffff })), (units) => {
    const text = String.fromCharCode(...units)
    return hash(foldFor('s', 'rollout'), text) === hash(foldFor('s', 'rollout'), Buffer.from(text).toString())
  }))
})

t.test('seed and value cannot run into each other', async (t) => {
  t.not(unsigned('a:b', 'rollout', 'c'), unsigned('a', 'rollout', 'b:c'))
  t.not(unsigned('ab', 'rollout', 'c'), unsigned('a', 'rollout', 'bc'))
  t.not(unsigned('a', 'rollout', 'b\0'), unsigned('a', 'rollout', 'b'))
  t.not(unsigned('a\0', 'rollout', 'b'), unsigned('a', 'rollout', 'b'))
})

t.test('0 % is nobody and 100 % everyone, the smallest and the largest hash included', async (t) => {
  for (const edge of [0, 1, 0x7fffffff, 0x80000000, 0xffffffff]) {
    t.notOk(isBelow(thresholdOf(0), edge | 0))
    t.ok(isBelow(thresholdOf(100), edge | 0))
  }
  t.ok(isBelow(thresholdOf(50), 0x7fffffff))
  t.notOk(isBelow(thresholdOf(50), 0x80000000 | 0))
  t.notOk(isBelow(thresholdOf(99.999), 0xffffffff | 0))
  t.ok(isBelow(thresholdOf(1e-9), 0), 'the least percentage is not nobody')
  t.equal(percentageOf(0x80000000 | 0), 50)
})

t.test('a percentage takes its share of people', async (t) => {
  for (const seed of ['new_search', 'dark_mode', 'a', '日本']) {
    const hashes = hashesOf(seed, 'rollout')
    for (const percentage of [1, 10, 25, 50]) {
      const share = shareOf((i) => isBelow(thresholdOf(percentage), hashes[i]!))
      t.ok(isNear(share, percentage / 100), `${seed}: ${percentage} % are ${(share * 100).toFixed(2)} %`)
    }
  }
})

t.test('nobody leaves when a percentage grows', async (t) => {
  const hashes = hashesOf('grow', 'rollout')
  const percentages = [0, 0.5, 1, 5, 10, 33.3, 50, 99.99, 100]
  for (const [index, percentage] of percentages.slice(1).entries()) {
    const before = thresholdOf(percentages[index]!)
    t.notOk(hashes.some((hash) => isBelow(before, hash) && !isBelow(thresholdOf(percentage), hash)))
  }
})

t.test('taking part, the share and other flags are independent', async (t) => {
  const rollout = hashesOf('one', 'rollout')
  const share = hashesOf('one', 'split')
  const other = hashesOf('two', 'rollout')
  const quarter = thresholdOf(25)
  const half = thresholdOf(50)
  for (const [name, second] of [['share', share], ['other flag', other]] as const) {
    const both = shareOf((i) => isBelow(quarter, rollout[i]!) && isBelow(half, second[i]!))
    t.ok(isNear(both, 0.125), `rollout and ${name}: ${(both * 100).toFixed(2)} %`)
  }
  const names = picks({ control: 50, a: 25, b: 25 }, share)
  const inside = shareOf((i) => isBelow(quarter, rollout[i]!))
  for (const [name, weight] of Object.entries({ control: 0.5, a: 0.25, b: 0.25 })) {
    const within = shareOf((i) => isBelow(quarter, rollout[i]!) && names[i] === name) / inside
    t.ok(isNear(within, weight, people * inside), `${name} inside 25 %: ${(within * 100).toFixed(2)} %`)
  }
})

t.test('a split gives each variant its share, whatever the weights sum to', async (t) => {
  const hashes = hashesOf('pricing', 'split')
  const splits: Array<Record<string, number>> = [
    { control: 34, a: 33, b: 33 }, { control: 50, a: 25 }, { a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1 }, { a: 0.001, b: 0.003 }, { a: 1e300, b: 1e300, c: 5e299 }, { rare: 1, common: 999 }
  ]
  for (const weights of splits) {
    const names = picks(weights, hashes)
    const sum = Object.values(weights).reduce((sum, weight) => sum + weight / 1e301, 0)
    for (const [name, weight] of Object.entries(weights)) {
      const share = shareOf((i) => names[i] === name)
      t.ok(isNear(share, weight / 1e301 / sum), `${JSON.stringify(weights)}: ${name} ${(share * 100).toFixed(2)} %`)
    }
  }
})

t.test('a weight of 0 is nobody, and one weight alone everyone', async (t) => {
  const hashes = hashesOf('zero', 'split')
  t.notOk(picks({ a: 1, b: 0, c: 1 }, hashes).includes('b'))
  t.same(picks({ a: 0, b: 1e-320 }, hashes.slice(0, 100)), Array(100).fill('b'))
  t.throws(() => picks({ a: 0 }, hashes), /positive weight/)
})

t.test('the order of variants and the scale of weights do not matter', async (t) => {
  const hashes = hashesOf('order', 'split')
  const names = picks({ a: 50, b: 30, c: 20 }, hashes)
  t.same(picks({ c: 20, a: 50, b: 30 }, hashes), names)
  t.same(picks({ a: 5, b: 3, c: 2 }, hashes), names)
  t.same(picks({ a: 5, b: 3, c: 2, d: 0 }, hashes), names)
})

t.test('a changed split moves exactly the share it must', async (t) => {
  const hashes = hashesOf('move', 'split')
  const moves: Array<[before: Record<string, number>, after: Record<string, number>, needed: number]> = [
    [{ a: 34, b: 33, c: 33 }, { a: 50, b: 25, c: 25 }, 0.16],
    [{ a: 50, b: 50 }, { a: 40, b: 60 }, 0.1],
    [{ a: 50, b: 50 }, { a: 50, b: 50, c: 100 }, 0.5],
    [{ a: 50, b: 25, c: 25 }, { a: 50, b: 25 }, 0.25],
    [{ a: 1, b: 1, c: 1, d: 1 }, { a: 1, b: 1, c: 1, d: 5 }, 0.375]
  ]
  for (const [before, after, needed] of moves) {
    const [old, now] = [picks(before, hashes), picks(after, hashes)]
    const moved = shareOf((i) => old[i] !== now[i])
    t.ok(isNear(moved, needed), `${JSON.stringify(before)} to ${JSON.stringify(after)}: ${(moved * 100).toFixed(2)} %`)
  }
})

t.test('when weights change, people only go from what fell to what rose, relatively', async () => {
  const hashes = hashesOf('several', 'split').slice(0, 2000)
  const weight = fc.integer({ min: 1, max: 100 })
  const names = ['a', 'b', 'c', 'd', 'e']
  fc.assert(fc.property(fc.array(fc.tuple(weight, weight), { minLength: 2, maxLength: 5 }), (weights) => {
    const of = (side: 0 | 1) => Object.fromEntries(weights.map((pair, i) => [names[i]!, pair[side]]))
    const growth = (name: string) => of(1)[name]! / of(0)[name]!
    const [before, after] = [picks(of(0), hashes), picks(of(1), hashes)]
    return before.every((from, i) => from === after[i] || growth(after[i]!) > growth(from))
  }), { numRuns: 50 })
})

t.test('one flag draws the same in every environment, whoever asks again', async (t) => {
  const snapshot = snapshotOf({ flags: { f: { enabled: true, serve: { percentage: 30 } } } })
  const answers = (environment: string) => users.slice(0, 1000).map((targetingKey) => ask('f', subjectOf(snapshot, { targetingKey }, { environment })).enabled)
  t.same(answers('staging'), answers('production'))
})

t.test('what decides is what the flag says: its key, or its seed, and the attribute of `by`', async (t) => {
  const in25 = (value: string, seed = 'flag') => isBelow(thresholdOf(25), hash(foldFor(seed, 'rollout'), value))
  for (const user of users.slice(0, 200)) {
    t.equal(evaluate({ enabled: true, serve: { percentage: 25 } }, { targetingKey: user }).enabled, in25(user))
    t.equal(evaluate({ enabled: true, serve: { percentage: 25, seed: 's' } }, { targetingKey: user }).enabled, in25(user, 's'))
  }
  t.equal(evaluate({ enabled: true, serve: { percentage: 25, by: 'company.id' } }, { targetingKey: 'x', company: { id: 42 } }).enabled, in25('42'))
})
