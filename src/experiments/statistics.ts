import { chiSquareTail, normalCdf, normalQuantile, studentQuantile, studentTails } from './distributions.js'

/** How many of so many units did it. */
export interface Rate { readonly units: number, readonly conversions: number }

/** What units brought, each once: how many, the sum of their values and of the squares of these. */
export interface Amounts { readonly units: number, readonly sum: number, readonly squares: number }

export type Interval = readonly [low: number, high: number]

/** One variant against the control. Each is null where there is too little to tell. Intervals hold the truth 95 times in 100. */
export interface Comparison {
  /** The variant's rate or mean less the control's. */
  readonly difference: number | null
  readonly differenceInterval: Interval | null
  /** The difference as a share of the control's: 0.1 is 10 % more. */
  readonly lift: number | null
  readonly liftInterval: Interval | null
  /** How often chance alone would bring a difference as large, if one looks once, at a moment chosen beforehand. */
  readonly pValue: number | null
  /** The same, however often one looks and whenever one stops. */
  readonly alwaysValid: number | null
}

const unknown: Comparison = Object.freeze({ difference: null, differenceInterval: null, lift: null, liftInterval: null, pValue: null, alwaysValid: null })

const z95 = normalQuantile(0.975)

/** Two rates. */
export function compareRates (control: Rate, variant: Rate): Comparison {
  if (control.units === 0 || variant.units === 0) return unknown
  const [p, q] = [rateOf(control), rateOf(variant)]
  const difference = q - p
  const pooled = (control.conversions + variant.conversions) / (control.units + variant.units)
  const score = difference / Math.sqrt(pooled * (1 - pooled) * (1 / control.units + 1 / variant.units))
  const isTold = Number.isFinite(score) // it is not where all or none converted
  return {
    difference,
    differenceInterval: rateDifference(control, variant),
    lift: p > 0 ? difference / p : null,
    liftInterval: rateLift(control, variant),
    pValue: isTold ? 2 * normalCdf(-Math.abs(score)) : null, // the z-test with the pooled rate
    alwaysValid: isTold ? alwaysValid(score, control.units, variant.units) : null
  }
}

/** Two means, by units. */
export function compareMeans (control: Amounts, variant: Amounts): Comparison {
  if (control.units === 0 || variant.units === 0) return unknown
  const [a, b] = [momentsOf(control), momentsOf(variant)]
  const difference = b.mean - a.mean
  const [ea, eb] = [a.variance / control.units, b.variance / variant.units]
  const error = Math.sqrt(ea + eb)
  const told = control.units > 1 && variant.units > 1 && error > 0
  // Welch, "The generalization of Student's problem…", Biometrika 34 (1947), with Satterthwaite's degrees of freedom.
  const freedom = (ea + eb) ** 2 / (ea ** 2 / (control.units - 1) + eb ** 2 / (variant.units - 1))
  const reach = told ? studentQuantile(0.05, freedom) : NaN
  // The delta method on the logarithm of the ratio.
  const spread = reach * Math.sqrt(ea / a.mean ** 2 + eb / b.mean ** 2)
  const ratio = b.mean / a.mean
  return {
    difference,
    differenceInterval: told ? [difference - reach * error, difference + reach * error] : null,
    lift: a.mean > 0 ? ratio - 1 : null,
    liftInterval: told && a.mean > 0 && b.mean > 0 && spread < 100 ? [ratio * Math.exp(-spread) - 1, ratio * Math.exp(spread) - 1] : null,
    pValue: told ? studentTails(difference / error, freedom) : null,
    alwaysValid: told ? alwaysValid(difference / error, control.units, variant.units) : null
  }
}

/** Wilson's score interval of a rate: "Probable inference, the law of succession, and statistical inference", JASA 22 (1927). Null without units. */
export function rateInterval ({ units, conversions }: Rate): Interval | null {
  if (units === 0) return null
  const square = z95 ** 2
  const middle = (conversions + square / 2) / (units + square)
  const reach = z95 / (units + square) * Math.sqrt(conversions * (units - conversions) / units + square / 4)
  return [Math.max(0, middle - reach), Math.min(1, middle + reach)]
}

/** Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine 17 (1998), method 10. */
function rateDifference (control: Rate, variant: Rate): Interval {
  const [a, b] = [rateInterval(control)!, rateInterval(variant)!]
  const [p, q] = [rateOf(control), rateOf(variant)]
  return [q - p - Math.hypot(q - b[0], a[1] - p), q - p + Math.hypot(b[1] - q, p - a[0])]
}

/** Katz et al., "Obtaining confidence intervals for the risk ratio in cohort studies", Biometrics 34 (1978). */
function rateLift (control: Rate, variant: Rate): Interval | null {
  if (control.conversions === 0 || variant.conversions === 0) return null
  const ratio = rateOf(variant) / rateOf(control)
  const spread = z95 * Math.sqrt(1 / control.conversions - 1 / control.units + 1 / variant.conversions - 1 / variant.units)
  return [ratio * Math.exp(-spread) - 1, ratio * Math.exp(spread) - 1]
}

/** Effects that `alwaysValid` looks for most, in standard deviations of one unit: a rate of 10 % that becomes 10.9 %, one of 1 % that becomes 1.3 %. */
const expectedEffect = 0.03

/**
 * The mixture sequential probability ratio test, as a p-value: Robbins, "Statistical methods related to the law of the iterated
 * logarithm", Ann. Math. Stat. 41 (1970); Johari, Koomen, Pekelis & Walsh, "Always valid inference", Operations Research 70 (2022).
 * `score` is the difference over its standard error; the effect's prior is normal around none.
 */
function alwaysValid (score: number, control: number, variant: number): number {
  const information = expectedEffect ** 2 / (1 / control + 1 / variant)
  const logRatio = score ** 2 / 2 * information / (1 + information) - Math.log1p(information) / 2
  return Math.min(1, Math.exp(-logRatio))
}

/** How far the units of variants are from the shares they should have: Pearson's chi-square test. Null where nothing is to be expected. */
export function sampleRatio (units: readonly number[], shares: readonly number[]): number | null {
  const total = units.reduce((sum, count) => sum + count, 0)
  if (total === 0) return null
  let square = 0
  let freedom = -1
  for (const [i, count] of units.entries()) {
    const expected = total * shares[i]!
    if (expected === 0 && count > 0) return 0
    if (expected === 0) continue
    square += (count - expected) ** 2 / expected
    freedom++
  }
  return freedom > 0 ? chiSquareTail(square, freedom) : null
}

/** Chances that a needed sample is for: to find the effect where it is there, and to find one where none is. */
const power = normalQuantile(0.8)

/**
 * How many units the control needs (and `ratio` times as many the variant) so that a lift of the control's rate is found in 80 of
 * 100 experiments, at a level of 5 %: Fleiss, Levin & Paik, Statistical Methods for Rates and Proportions, 3rd ed. (2003), 4.14.
 * Null where such a lift cannot be.
 */
export function unitsForRate (rate: number, lift: number, ratio = 1): number | null {
  const other = rate * (1 + lift)
  if (!(rate > 0 && rate < 1 && other > 0 && other < 1 && ratio > 0) || lift === 0) return null
  const mean = (rate + ratio * other) / (1 + ratio)
  const sum = z95 * Math.sqrt((1 + ratio) * mean * (1 - mean)) + power * Math.sqrt(ratio * rate * (1 - rate) + other * (1 - other))
  return Math.ceil(sum ** 2 / (ratio * (rate - other) ** 2))
}

/** The same for a mean, from what the control has shown so far; the variant's values are taken to spread as much more as their mean is higher. */
export function unitsForMean (control: Amounts, lift: number, ratio = 1): number | null {
  const { mean, variance } = momentsOf(control)
  if (!(variance > 0 && mean !== 0 && ratio > 0) || lift === 0) return null
  return Math.ceil((z95 + power) ** 2 * variance * (1 + (1 + lift) ** 2 / ratio) / (mean * lift) ** 2)
}

function rateOf ({ units, conversions }: Rate): number {
  return conversions / units
}

function momentsOf ({ units, sum, squares }: Amounts): { mean: number, variance: number } {
  const mean = sum / units
  // Rounding may leave less than nothing.
  return { mean, variance: Math.max(0, squares - sum * mean) / (units - 1) }
}
