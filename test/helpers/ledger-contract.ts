import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import { isFlagsError } from '../../src/errors.js'
import type { Addition, Batch, Claim, Ledger } from '../../src/experiments/ledger.js'
import { experimentOf, type Experiment } from '../../src/model/experiment.js'
import type { Flag } from '../../src/model/flag.js'

export interface LedgerPlace {
  /** Another opening of the same ledger, as another process would have it. */
  open (): Ledger
  /** Whether two may record at once. */
  shared: boolean
  /** Whether what is recorded is still there when it is opened again. */
  keeps: boolean
}

const hour = 3_600_000
/** Of today: an experiment's times are counted from some days before it was first heard of. */
const noon = Math.floor(Date.now() / (24 * hour)) * 24 * hour + 12 * hour
const document: Flag = { enabled: true, variants: ['a', 'b', 'c'], serve: { split: { a: 50, b: 25, c: 25 } }, experiment: {} }

let made = 0
/** An experiment that no other test has. */
export function someExperiment (change: Partial<Flag> = {}): Experiment {
  return experimentOf(`flag-${++made}-${randomUUID()}`, { ...document, ...change }, 'production')!
}

export function batchOf (experiment: Experiment, parts: Partial<Batch>): Batch {
  return { id: randomUUID(), experiment, time: noon, exposures: [], conversions: [], reads: {}, ...parts }
}

export function additionOf (of: string, numbers: Addition['numbers'], parts: Partial<Addition> = {}): Addition {
  return { id: randomUUID(), of, numbers, time: noon, ...parts }
}

export function claimOf (of: string, ids: string[], parts: Partial<Claim> = {}): Claim {
  return { id: randomUUID(), of, ids, time: noon, ...parts }
}

export const exposed = (unit: string, variant: string, time = noon, id?: string) => ({ unit, variant, time, ...(id !== undefined && { id }) })
export const converted = (unit: string, goal: string, value = 0, time = noon + hour) => ({ unit, goal, value, time })

/** A ledger as whoever uses it should: on a busy machine an answer may be late, and the same batch is sent again. */
export function patient (ledger: Ledger): Ledger {
  async function insist<T> (ask: () => Promise<T>): Promise<T> {
    for (const end = Date.now() + 20_000; ;) {
      try {
        return await ask()
      } catch (error) {
        if (!isFlagsError(error) || error.code !== 'FST_FLAGS_STORE_UNAVAILABLE' || Date.now() > end) throw error
      }
    }
  }
  return {
    settlesAfter: ledger.settlesAfter,
    record: (batch) => insist(() => ledger.record(batch)),
    read: (experiment, range) => insist(() => ledger.read(experiment, range)),
    add: (addition) => insist(() => ledger.add(addition)),
    sums: (of) => insist(() => ledger.sums(of)),
    claim: (claim) => insist(() => ledger.claim(claim)),
    close: () => ledger.close()
  }
}

/** What every ledger holds to. */
export async function ledgerContract (t: Test, makePlace: () => Promise<LedgerPlace> | LedgerPlace): Promise<void> {
  async function open (t: Test, place?: LedgerPlace): Promise<Ledger> {
    const ledger = (place ?? await makePlace()).open()
    t.teardown(() => ledger.close())
    return ledger
  }

  await t.test('before anything is recorded every variant is there, with nothing', async (t) => {
    const ledger = await open(t)
    t.strictSame(await ledger.read(someExperiment()), {
      variants: { a: { units: 0, exposures: 0, switched: 0, goals: {} }, b: { units: 0, exposures: 0, switched: 0, goals: {} }, c: { units: 0, exposures: 0, switched: 0, goals: {} } },
      days: [],
      shares: { a: 0.5, b: 0.25, c: 0.25 },
      since: null,
      ignored: { unexposed: 0, goals: 0 }
    })
  })

  await t.test('a unit counts once, whoever reports it and however often, and reads add up', async (t) => {
    const place = await makePlace()
    const ledger = await open(t, place)
    const other = place.shared ? await open(t, place) : ledger
    const experiment = someExperiment()
    await ledger.record(batchOf(experiment, { exposures: [exposed('u1', 'a'), exposed('u2', 'b'), exposed('u1', 'a')], reads: { a: 5, b: 1 } }))
    await other.record(batchOf(experiment, { exposures: [exposed('u1', 'a', noon + hour), exposed('u3', 'a')], reads: { a: 2 } }))
    const { variants, since } = await ledger.read(experiment)
    t.match(variants, { a: { units: 2, exposures: 7, switched: 0 }, b: { units: 1, exposures: 1 }, c: { units: 0, exposures: 0 } })
    t.ok(since !== null)
  })

  await t.test('the same batch sent again changes nothing, also two at once', async (t) => {
    const ledger = await open(t)
    const experiment = someExperiment()
    const batch = batchOf(experiment, { exposures: [exposed('u1', 'a', noon, 'event-1')], conversions: [converted('u1', 'buy', 5), converted('u9', 'buy')], reads: { a: 3 } })
    await Promise.all([ledger.record(batch), ledger.record(batch)])
    await ledger.record(batch)
    const { variants, ignored } = await ledger.read(experiment)
    t.strictSame(variants.a, { units: 1, exposures: 4, switched: 0, goals: { buy: { conversions: 1, sum: 5, squares: 25 } } })
    t.equal(ignored.unexposed, 1)
  })

  await t.test('a reported exposure counts once by its id, in whichever batch it comes again', async (t) => {
    const ledger = await open(t)
    const experiment = someExperiment()
    for (const id of ['event-1', 'event-2', 'event-1', 'event-2', 'event-1']) await ledger.record(batchOf(experiment, { exposures: [exposed('u1', 'a', noon, id)] }))
    t.match((await ledger.read(experiment)).variants, { a: { units: 1, exposures: 2 } })
  })

  await t.test('a conversion counts once for a unit and goal, with its first value, and only after the exposure', async (t) => {
    const ledger = await open(t)
    const experiment = someExperiment()
    await ledger.record(batchOf(experiment, { conversions: [converted('u1', 'buy', 1)] }))
    await ledger.record(batchOf(experiment, {
      exposures: [exposed('u1', 'a'), exposed('u2', 'a'), exposed('u3', 'b')],
      conversions: [converted('u1', 'buy', 0, noon - hour), converted('u1', 'buy', 2.5, noon), converted('u1', 'buy', 7), converted('u2', 'buy', 4), converted('u2', 'visit'), converted('nobody', 'buy')]
    }))
    await ledger.record(batchOf(experiment, { conversions: [converted('u1', 'buy', 99), converted('u3', 'visit')] }))
    const { variants, ignored } = await ledger.read(experiment)
    t.strictSame(variants.a!.goals, { buy: { conversions: 2, sum: 6.5, squares: 22.25 }, visit: { conversions: 1, sum: 0, squares: 0 } })
    t.strictSame(variants.b!.goals, { buy: { conversions: 0, sum: 0, squares: 0 }, visit: { conversions: 1, sum: 0, squares: 0 } }, 'every goal stands in every variant')
    t.strictSame(ignored, { unexposed: 3, goals: 0 })
  })

  await t.test('a unit that changes its variant is reported once, stays with its first, and converts there', async (t) => {
    const ledger = await open(t)
    const experiment = someExperiment()
    await ledger.record(batchOf(experiment, { exposures: [exposed('u1', 'a'), exposed('u1', 'b'), exposed('u1', 'c'), exposed('u1', 'a')] }))
    await ledger.record(batchOf(experiment, { exposures: [exposed('u1', 'b')], conversions: [converted('u1', 'buy')] }))
    const { variants } = await ledger.read(experiment)
    t.match(variants, { a: { units: 1, switched: 1, goals: { buy: { conversions: 1 } } }, b: { units: 0, switched: 0, goals: { buy: { conversions: 0 } } } })
  })

  await t.test('days are UTC; a unit of many days is one unit, and a range picks units by their first', async (t) => {
    const ledger = await open(t)
    const experiment = someExperiment()
    const next = noon + 12 * hour
    const first = next - 1000
    const [day, nextDay, later] = [0, 1, 2].map((days) => new Date(noon + days * 24 * hour).toISOString().slice(0, 10))
    await ledger.record(batchOf(experiment, { time: first, exposures: [exposed('u1', 'a', first), exposed('u2', 'a', first)], reads: { a: 2 } }))
    await ledger.record(batchOf(experiment, { time: next, exposures: [exposed('u1', 'a', next), exposed('u3', 'a', next)], reads: { a: 3 }, conversions: [converted('u1', 'buy', 10, next), converted('u3', 'buy', 20, next)] }))
    const all = await ledger.read(experiment)
    t.match(all.variants.a, { units: 3, exposures: 5, goals: { buy: { conversions: 2, sum: 30, squares: 500 } } })
    t.strictSame(all.days.map(({ day, variants }) => [day, variants.a!.units, variants.a!.exposures, { ...variants.a!.conversions }]), [[day, 2, 2, {}], [nextDay, 1, 3, { buy: 2 }]])
    t.match((await ledger.read(experiment, { to: day })).variants.a, { units: 2, exposures: 2, goals: { buy: { conversions: 1, sum: 10 } } })
    t.match((await ledger.read(experiment, { from: nextDay })).variants.a, { units: 1, exposures: 3, goals: { buy: { conversions: 1, sum: 20 } } })
    t.match((await ledger.read(experiment, { from: later })).variants.a, { units: 0, exposures: 0 })
  })

  await t.test('another iteration, set of variants or seed begins anew, and other weights go on without their shares', async (t) => {
    const ledger = await open(t)
    const serve = { split: { a: 50, b: 50 } }
    const key = `flag-${randomUUID()}`
    const of = (change: Partial<Flag>) => experimentOf(key, { ...document, serve, ...change }, 'production')!
    const first = of({})
    await ledger.record(batchOf(first, { exposures: [exposed('u1', 'a')] }))
    for (const change of [{ experiment: { iteration: 2 } }, { serve: { split: { a: 50, b: 25, c: 25 } } }, { serve: { ...serve, seed: 'x' } }, { serve: { ...serve, by: 'company' } }]) {
      t.equal((await ledger.read(of(change))).variants.a!.units, 0, JSON.stringify(change))
    }
    for (const change of [{ experiment: { iteration: 1, control: 'b' } }, { description: 'x' }, { serve: { split: { b: 50, a: 50 } } }]) {
      t.equal((await ledger.read(of(change))).variants.a!.units, 1, JSON.stringify(change))
    }
    t.strictSame((await ledger.read(first)).shares, { a: 0.5, b: 0.5 })
    const weighted = of({ serve: { split: { a: 90, b: 10 } } })
    await ledger.record(batchOf(weighted, { exposures: [exposed('u2', 'a')] }))
    t.match(await ledger.read(weighted), { shares: null, variants: { a: { units: 2 } } })
    await ledger.record(batchOf(first, { exposures: [exposed('u3', 'a')] }))
    t.equal((await ledger.read(first)).shares, null)
  })

  await t.test('an experiment has at most 50 goals, the first; of others it is said how often they came', async (t) => {
    const ledger = await open(t)
    const experiment = someExperiment()
    const goals = Array.from({ length: 60 }, (_, index) => converted('u1', `goal-${index}`))
    await ledger.record(batchOf(experiment, { exposures: [exposed('u1', 'a')], conversions: [converted('nobody', 'no-goal'), ...goals] }))
    await ledger.record(batchOf(experiment, { conversions: [converted('u1', 'goal-59'), converted('u1', 'goal-0')] }))
    const { variants, ignored } = await ledger.read(experiment)
    t.strictSame(new Set(Object.keys(variants.a!.goals)), new Set(goals.slice(0, 50).map(({ goal }) => goal)))
    t.strictSame(ignored, { unexposed: 1, goals: 11 })
  })

  await t.test('names of units and goals may be anything', async (t) => {
    const ledger = await open(t)
    const experiment = someExperiment()
    const names = ['', ' ', '__proto__', 'constructor', '{x}', '\0', 'ü', '🚀', '1', '01', '12345678', 'x'.repeat(1000), 'a:b', '\n']
    await ledger.record(batchOf(experiment, { exposures: names.map((name) => exposed(name, 'a')), conversions: names.flatMap((unit) => names.filter((goal) => goal !== '').map((goal) => converted(unit, goal.slice(0, 100), 2))) }))
    const { variants, days } = await ledger.read(experiment)
    t.equal(variants.a!.units, names.length)
    t.equal(Object.keys(variants.a!.goals).length, names.length - 1)
    for (const [goal, { conversions, sum }] of Object.entries(variants.a!.goals)) t.strictSame([conversions, sum], [names.length, names.length * 2], JSON.stringify(goal.slice(0, 20)))
    t.equal(Object.keys(days[0]!.variants.a!.conversions).length, names.length - 1)
  })

  await t.test('numbers are added up under a name, whoever adds them, and it is told what they come to', async (t) => {
    const place = await makePlace()
    const ledger = await open(t, place)
    const other = place.shared ? await open(t, place) : ledger
    const [of, another] = [randomUUID(), randomUUID()]
    t.same(await ledger.sums(of), {})
    t.same(await ledger.add(additionOf(of, { a: 1, 'b:0': -0.25 })), { a: 1, 'b:0': -0.25 })
    t.same(await other.add(additionOf(of, { a: 1e15, 'b:0': 1e-9, c: 3 })), { a: 1e15 + 1, 'b:0': -0.25 + 1e-9, c: 3 })
    await Promise.all(Array.from({ length: 50 }, (_, i) => [ledger, other][i % 2]!.add(additionOf(of, { c: 0.5 }))))
    await ledger.add(additionOf(another, { a: 7 }))
    for (const each of [ledger, other]) t.same([await each.sums(of), await each.sums(another)], [{ a: 1e15 + 1, 'b:0': -0.25 + 1e-9, c: 28 }, { a: 7 }])
  })

  await t.test('numbers sent again under the same id are added once, also two at once', async (t) => {
    const place = await makePlace()
    const ledger = await open(t, place)
    const addition = additionOf(randomUUID(), { a: 2 })
    await Promise.all([ledger.add(addition), ledger.add(addition)])
    await ledger.add(additionOf(addition.of, { a: 10 }))
    t.same(await ledger.add({ ...addition, time: noon + hour - 1 }), { a: 12 })
  })

  await t.test('an id belongs to the first claim within an hour, which is told so however often it asks', async (t) => {
    const place = await makePlace()
    const ledger = await open(t, place)
    const other = place.shared ? await open(t, place) : ledger
    const of = randomUUID()
    const first = claimOf(of, ['1', '2', '', '__proto__', 'ü', 'x'.repeat(1000)], { time: noon + 0.5 * hour })
    t.same([...await ledger.claim(first)], first.ids)
    t.same([...await other.claim(claimOf(of, ['2', '3', 'ü'], { time: noon + 1.4 * hour }))], ['3'])
    t.same([...await ledger.claim(first)], first.ids, 'asked again')
    t.same([...await other.claim(claimOf(of, ['1'], { time: noon + 1.4 * hour }))], [], 'asking again has changed nothing')
    t.same([...await other.claim(claimOf(randomUUID(), ['1', '2']))], ['1', '2'], 'of something else')
    const claims = await Promise.all(Array.from({ length: 10 }, (_, i) => [ledger, other][i % 2]!.claim(claimOf(of, ['disputed']))))
    t.equal(claims.filter(({ size }) => size === 1).length, 1)
    const many = Array.from({ length: 1000 }, (_, i) => `event-${i}`)
    t.equal((await ledger.claim(claimOf(of, many))).size, 1000)
    t.equal((await other.claim(claimOf(of, many))).size, 0)
  })

  const place = await makePlace()
  if (place.keeps) {
    await t.test('sums and claims are there when it is opened again', async (t) => {
      const addition = additionOf(randomUUID(), { a: 0.1 })
      const claim = claimOf(addition.of, ['1', '2'])
      const first = place.open()
      await first.add(addition)
      await first.claim(claim)
      await first.close()
      const second = await open(t, place)
      t.same(await second.sums(addition.of), { a: 0.1 })
      t.same(await second.add(addition), { a: 0.1 })
      t.same([[...await second.claim(claimOf(addition.of, ['2', '3']))], [...await second.claim(claim)]], [['3'], ['1', '2']])
    })

    await t.test('what is recorded is there when it is opened again', async (t) => {
      const experiment = someExperiment()
      const batch = batchOf(experiment, { exposures: [exposed('u1', 'a'), exposed('u1', 'b'), exposed('u2', 'b')], conversions: [converted('u1', 'buy', 3), converted('u9', 'buy')], reads: { a: 4 } })
      const first = place.open()
      await first.record(batch)
      const before = await first.read(experiment)
      await first.close()
      const second = await open(t, place)
      t.strictSame(await second.read(experiment), before)
      await second.record(batch)
      await second.record(batchOf(experiment, { exposures: [exposed('u1', 'a')], conversions: [converted('u1', 'buy', 3)] }))
      t.strictSame(await second.read(experiment), before, 'the units, goals and batches are known still')
    })
  }
}
