import type { Counts, DayCounts, GoalCounts } from './counts.js'
import { compareMeans, compareRates, rateInterval, sampleRatio, unitsForMean, unitsForRate, type Amounts, type Comparison, type Interval } from './statistics.js'

export interface GoalResults extends GoalCounts {
  /** The part of the units that reached the goal, and where it is in truth, 95 times in 100. Null without units. */
  rate: number | null
  rateInterval: Interval | null
  /** The value a unit, that of those who did not reach the goal being 0. */
  mean: number | null
  /** What is not there for the control: how the rate and, where there are values, the mean compare with the control's. */
  against?: { rate: ComparedGoal, mean?: ComparedGoal }
}

export interface ComparedGoal extends Comparison {
  /** How many units more the two need together, so that the chosen effect would be found in 80 of 100 experiments; 0 when they have them, null when it cannot be told yet. */
  unitsNeeded: number | null
}

export interface VariantResults {
  units: number
  exposures: number
  switched: number
  goals: Record<string, GoalResults>
}

export interface Results {
  control: string
  /** The lift that `unitsNeeded` is about; 0.1 is 10 %. */
  effect: number
  /** When the first of it was recorded; an ISO string, null when nothing was. */
  since: string | null
  /** Whether the variants have the units they should. Null where shares changed meanwhile, or nothing was counted. */
  sampleRatio: { pValue: number, expected: Record<string, number>, isSuspect: boolean } | null
  /** What must be known before any number is believed, each in a sentence. */
  warnings: string[]
  variants: Record<string, VariantResults>
  days: Array<{ day: string, variants: Record<string, DayCounts> }>
  shares: Counts['shares']
  ignored: Counts['ignored']
}

/** So unlikely sizes are no chance any more: Fabijan et al., "Diagnosing sample ratio mismatch in online controlled experiments", KDD 2019. */
const suspectBelow = 0.001

/** The lift that is looked for unless another is chosen. */
export const usualEffect = 0.1

const never: GoalCounts = { conversions: 0, sum: 0, squares: 0 }

/**
 * What counts say. Each comparison stands for itself: of 20 that mean nothing one will have a p-value below 5 %.
 * `effect` is the lift, of whatever goal, that one wants to be able to find.
 */
export function resultsOf (counts: Counts, control: string, effect = usualEffect): Results {
  const names = Object.keys(counts.variants).sort((a, b) => a === control ? -1 : b === control ? 1 : a < b ? -1 : 1)
  const goals = [...new Set(names.flatMap((name) => Object.keys(counts.variants[name]!.goals)))].sort()
  const ratio = sampleRatioOf(counts, names)
  const found = (name: string, goal: string): GoalCounts => {
    const own = counts.variants[name]?.goals ?? {}
    return Object.hasOwn(own, goal) ? own[goal]! : never
  }
  const variants = names.map((name): [string, VariantResults] => {
    const { units, exposures, switched } = counts.variants[name]!
    const results = goals.map((goal): [string, GoalResults] => {
      const { conversions, sum, squares } = found(name, goal)
      const own = { units, conversions, sum, squares }
      const result = {
        conversions,
        sum,
        squares,
        rate: units === 0 ? null : conversions / units,
        rateInterval: rateInterval(own),
        mean: units === 0 ? null : sum / units
      }
      if (name === control || counts.variants[control] === undefined) return [goal, result]
      const other = { units: counts.variants[control].units, ...found(control, goal) }
      const hasValues = names.some((name) => found(name, goal).sum !== 0)
      return [goal, { ...result, against: { rate: comparedRates(other, own, effect), ...hasValues && { mean: comparedMeans(other, own, effect) } } }]
    })
    return [name, { units, exposures, switched, goals: Object.fromEntries(results) }]
  })
  return {
    control,
    effect,
    since: counts.since === null ? null : new Date(counts.since).toISOString(),
    sampleRatio: ratio,
    warnings: ratio?.isSuspect === true ? [mismatch(counts, ratio)] : [],
    variants: Object.fromEntries(variants),
    days: counts.days,
    shares: counts.shares,
    ignored: counts.ignored
  }
}

type Own = Amounts & { readonly conversions: number }

function comparedRates (control: Own, variant: Own, effect: number): ComparedGoal {
  const needed = unitsForRate(control.conversions / control.units, effect, variant.units / control.units)
  return { ...compareRates(control, variant), unitsNeeded: stillNeeded(needed, control, variant) }
}

function comparedMeans (control: Own, variant: Own, effect: number): ComparedGoal {
  const needed = unitsForMean(control, effect, variant.units / control.units)
  return { ...compareMeans(control, variant), unitsNeeded: stillNeeded(needed, control, variant) }
}

function stillNeeded (needed: number | null, control: Own, variant: Own): number | null {
  return needed === null ? null : Math.ceil(Math.max(0, needed - control.units) * (1 + variant.units / control.units))
}

function sampleRatioOf ({ variants, shares }: Counts, names: string[]): Results['sampleRatio'] {
  if (shares === null) return null
  const units = names.map((name) => variants[name]!.units)
  const pValue = sampleRatio(units, names.map((name) => shares[name] ?? 0))
  if (pValue === null) return null
  const total = units.reduce((sum, count) => sum + count, 0)
  return { pValue, expected: Object.fromEntries(names.map((name) => [name, total * (shares[name] ?? 0)])), isSuspect: pValue < suspectBelow }
}

function mismatch ({ variants }: Counts, { pValue, expected }: NonNullable<Results['sampleRatio']>): string {
  const sizes = Object.entries(expected).map(([name, count]) => `${name} has ${variants[name]!.units} units where about ${Math.round(count)} were to be expected`)
  return `SAMPLE RATIO MISMATCH (p = ${pValue.toPrecision(2)}): ${sizes.join(', ')}. Units of one variant get lost or are counted too often; believe no difference before the reason is found`
}
