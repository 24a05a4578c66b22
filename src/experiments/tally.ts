import type { Experiment } from '../model/experiment.js'
import type { Counts, DayCounts, VariantCounts } from './counts.js'
import { dayOf, isWithin, mostGoals, type Range } from './ledger.js'

interface Unit { variant: string, time: number, switched: boolean, goals: Map<string, { value: number, time: number }> | undefined }

/** What of a batch is kept: units by their hashes, in hexadecimal. */
export interface Hashed {
  exposures: Array<{ unit: string, variant: string, time: number }>
  conversions: Array<{ unit: string, goal: string, value: number, time: number }>
  reads: Record<string, number>
  /** Hashes of the ids of those exposures that were reported. */
  events: string[]
  time: number
}

/** Units as they are written to a file: hash, variant, time of the exposure, 1 when it switched, and goals with time and value. */
export type UnitLine = [unit: string, variant: string, time: number, switched: 0 | 1, ...goals: Array<[goal: string, time: number, value: number]>]

/** One experiment in memory: each unit for itself, so that every count comes from what is known of the units. */
export class Tally {
  readonly #units = new Map<string, Unit>()
  /** Variant → day → how often it was read. */
  readonly #reads = new Map<string, Map<string, number>>()
  readonly #goals = new Set<string>()
  readonly ignored = { unexposed: 0, goals: 0 }
  since: number | null = null
  lastTime = 0
  shares: Readonly<Record<string, number>> | null

  constructor (shares: Readonly<Record<string, number>> | null) {
    this.shares = shares
  }

  get size (): number {
    return this.#units.size
  }

  add ({ exposures, conversions, reads, time }: Hashed): void {
    this.since ??= time
    this.lastTime = time
    for (const { unit, variant, time } of exposures) {
      const known = this.#units.get(unit)
      if (known === undefined) this.#units.set(unit, { variant, time, switched: false, goals: undefined })
      else if (known.variant !== variant) known.switched = true
    }
    for (const [variant, count] of Object.entries(reads)) this.addReads(variant, dayOf(time), count)
    for (const { unit, goal, value, time } of conversions) {
      const known = this.#units.get(unit)
      if (known === undefined || tenths(time) < tenths(known.time)) this.ignored.unexposed++
      else if (!this.#goals.has(goal) && this.#goals.size >= mostGoals) this.ignored.goals++
      else if (known.goals?.has(goal) !== true) {
        this.#goals.add(goal)
        ;(known.goals ??= new Map()).set(goal, { value, time })
      }
    }
  }

  addReads (variant: string, day: string, count: number): void {
    let days = this.#reads.get(variant)
    if (days === undefined) this.#reads.set(variant, days = new Map())
    days.set(day, (days.get(day) ?? 0) + count)
  }

  addUnit ([unit, variant, time, switched, ...goals]: UnitLine): void {
    const reached = goals.map(([goal, time, value]) => [goal, { value, time }] as const)
    for (const [goal] of reached) this.#goals.add(goal)
    this.#units.set(unit, { variant, time, switched: switched === 1, goals: reached.length === 0 ? undefined : new Map(reached) })
  }

  * unitLines (): Generator<UnitLine> {
    for (const [unit, { variant, time, switched, goals = [] }] of this.#units) {
      yield [unit, variant, time, switched ? 1 : 0, ...Array.from(goals, ([goal, { time, value }]): [string, number, number] => [goal, time, value])]
    }
  }

  * readLines (): Generator<[variant: string, day: string, count: number]> {
    for (const [variant, days] of this.#reads) for (const [day, count] of days) yield [variant, day, count]
  }

  /** Forgets units of which nothing was heard since then. */
  forgetBefore (time: number): void {
    for (const [hash, unit] of this.#units) {
      let last = unit.time
      for (const goal of unit.goals?.values() ?? []) last = Math.max(last, goal.time)
      if (last < time) this.#units.delete(hash)
    }
  }

  counts ({ variants }: Experiment, range: Range): Counts {
    const counting = new Counting(variants)
    for (const [variant, day, count] of this.readLines()) counting.exposures(variant, day, count, range)
    for (const { variant, time, switched, goals } of this.#units.values()) {
      const day = dayOf(time)
      counting.units(variant, day, 1, range)
      if (switched) counting.switched(variant, day, 1, range)
      for (const [goal, { value, time }] of goals ?? []) {
        counting.conversions(variant, goal, day, { conversions: 1, sum: value, squares: value * value }, range)
        counting.conversionsOn(variant, goal, dayOf(time), 1)
      }
    }
    return counting.done(this.shares, this.since, { ...this.ignored })
  }
}

/** Clocks of processes are not nearer to each other; so much of a time every ledger compares. */
function tenths (time: number): number {
  return Math.floor(time / 100)
}

/** Puts counts together: every ledger's come out in one form and by the same rules. */
export class Counting {
  readonly #variants = new Map<string, VariantCounts>()
  readonly #days = new Map<string, Map<string, DayCounts>>()

  constructor (readonly names: readonly string[]) {
    for (const name of names) this.#variants.set(name, { units: 0, exposures: 0, switched: 0, goals: Object.create(null) }) // a goal may have any name
  }

  units (variant: string, day: string, count: number, range: Range): void {
    this.#on(variant, day).units += count
    if (isWithin(day, range)) this.#of(variant).units += count
  }

  exposures (variant: string, day: string, count: number, range: Range): void {
    this.#on(variant, day).exposures += count
    if (isWithin(day, range)) this.#of(variant).exposures += count
  }

  switched (variant: string, day: string, count: number, range: Range): void {
    if (isWithin(day, range)) this.#of(variant).switched += count
  }

  /** `day` is that of the exposure. */
  conversions (variant: string, goal: string, day: string, { conversions, sum, squares }: { conversions: number, sum: number, squares: number }, range: Range): void {
    if (!isWithin(day, range)) return
    const { goals } = this.#of(variant)
    const known = goals[goal] ??= { conversions: 0, sum: 0, squares: 0 }
    known.conversions += conversions
    known.sum += sum
    known.squares += squares
  }

  /** `day` is that of the conversion. */
  conversionsOn (variant: string, goal: string, day: string, count: number): void {
    const { conversions } = this.#on(variant, day)
    conversions[goal] = (conversions[goal] ?? 0) + count
  }

  done (shares: Counts['shares'], since: number | null, ignored: Counts['ignored']): Counts {
    const goals = [...new Set([...this.#variants.values()].flatMap(({ goals }) => Object.keys(goals)))].sort()
    return {
      variants: Object.fromEntries(Array.from(this.#variants, ([name, counts]) => [name, { ...counts, goals: Object.fromEntries(goals.map((goal) => [goal, counts.goals[goal] ?? { conversions: 0, sum: 0, squares: 0 }])) }])),
      days: [...this.#days].sort(([a], [b]) => a < b ? -1 : 1).map(([day, variants]) => ({ day, variants: Object.fromEntries(this.names.map((name) => [name, plain(variants.get(name) ?? nothing())])) })),
      shares,
      since,
      ignored
    }
  }

  #of (variant: string): VariantCounts {
    return this.#variants.get(variant)!
  }

  #on (variant: string, day: string): DayCounts {
    let variants = this.#days.get(day)
    if (variants === undefined) this.#days.set(day, variants = new Map())
    let counts = variants.get(variant)
    if (counts === undefined) variants.set(variant, counts = nothing())
    return counts
  }
}

const plain = ({ conversions, ...counts }: DayCounts): DayCounts => ({ ...counts, conversions: { ...conversions } })
const nothing = (): DayCounts => ({ units: 0, exposures: 0, conversions: Object.create(null) })
