import { createHash } from 'node:crypto'
import type { Environment, Flag } from './flag.js'
import { drawOf, environmentOf, offVariantOf } from './meaning.js'

/** An experiment has at most so many variants. */
export const mostVariants = 100

/** What is drawn by chance in an environment of a flag, and counted. */
export interface Experiment {
  /** Another one whenever counts must begin anew: with another set of variants, another iteration, or others who are drawn (`by`, `seed`, the layer). */
  readonly id: string
  readonly flag: string
  readonly environment: string
  /** Sorted. */
  readonly variants: readonly string[]
  /** The variant that the others are compared with. */
  readonly control: string
  /** What share of those who take part each variant should get, summing to 1; null where that rises by stages. */
  readonly shares: Readonly<Record<string, number>> | null
  /** The attribute that names a unit; undefined is the targeting key. */
  readonly by: string | undefined
}

/**
 * The experiment beside a flag's serve, or undefined. Of a split it compares the variants of the split, whoever takes part;
 * of a percentage or stages, those who are in with those who are not. A serve that draws nothing has none.
 */
export function experimentOf (key: string, flag: Flag, environment: string): Experiment | undefined {
  const settings = environmentOf(flag, environment)
  if (settings?.experiment === undefined) return undefined
  const weights = comparedBy(flag, settings)
  if (weights === undefined) return undefined
  const { by, seed, otherwise = offVariantOf(flag) } = drawOf(flag, settings.serve)
  const { control, iteration, layer } = settings.experiment
  const variants = Object.keys(weights).sort()
  const sum = Object.values(weights).reduce((sum, weight) => sum + weight, 0)
  const identity = JSON.stringify([key, environment, iteration ?? 1, by ?? '', seed ?? '', variants, ...layer === undefined ? [] : [layer]])
  return Object.freeze({
    id: createHash('sha256').update(identity).digest('hex').slice(0, 16),
    flag: key,
    environment,
    variants,
    control: [control, otherwise].find((name) => name !== undefined && variants.includes(name)) ?? Object.keys(weights)[0]!,
    shares: sum > 0 ? Object.fromEntries(variants.map((name) => [name, weights[name]! / sum])) : null,
    by
  })
}

/** The variants that an experiment beside this serve compares, with their weights; undefined where nothing is drawn. */
export function comparedBy (flag: Flag, { serve }: Environment): Record<string, number> | undefined {
  const { variant, split, percentage, stages, otherwise = offVariantOf(flag) } = drawOf(flag, serve)
  const weights = split ?? partsOf(variant, otherwise, percentage, stages !== undefined)
  return weights === undefined || Object.keys(weights).length > mostVariants ? undefined : weights
}

/** Of those who are in and those who are not; undefined where both are served the same, or nothing is drawn. */
function partsOf (variant: string | undefined, otherwise: string | undefined, percentage: number | undefined, isStaged: boolean): Record<string, number> | undefined {
  if (variant === undefined || otherwise === undefined || variant === otherwise) return undefined
  if (isStaged) return { [variant]: 0, [otherwise]: 0 }
  return percentage === undefined ? undefined : { [variant]: percentage, [otherwise]: 100 - percentage }
}
