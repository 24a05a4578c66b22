import { comparedBy } from './experiment.js'
import type { Environment, Flag } from './flag.js'
import { drawOf } from './meaning.js'
import { settingsOf } from './references.js'

/** An experiment that shares a layer with others, so that none of them takes a unit of another. */
export interface Member {
  readonly flag: string
  /** Undefined for a flag without environments: it is a member in each. */
  readonly environment: string | undefined
  readonly layer: string
  /** From and to, in percent of the layer; undefined takes an even share of what no range holds. */
  readonly range: readonly number[] | undefined
  /** How many percent of the layer this member wants to stay out of all of its experiments. */
  readonly holdout: number
  /** The attribute that names a unit. */
  readonly by: string
}

/** The layer that an experiment shares with others; one that draws nothing is in none. */
export function layerOf (flag: Flag, settings: Environment): string | undefined {
  return settings.experiment?.layer !== undefined && comparedBy(flag, settings) !== undefined ? settings.experiment.layer : undefined
}

/**
 * What a flag is a member of. Whether it is switched on does not matter, so that a switch moves nobody in the experiments of
 * others.
 */
export function membershipsOf (flag: string, document: Flag): Member[] {
  return [...settingsOf(document)].flatMap(({ environment, settings }) => memberOf(flag, document, environment, settings) ?? [])
}

export function memberOf (flag: string, document: Flag, environment: string | undefined, settings: Environment): Member | undefined {
  const layer = layerOf(document, settings)
  if (layer === undefined) return undefined
  const { range, holdout = 0 } = settings.experiment!
  return { flag, environment, layer, range, holdout, by: drawOf(document, settings.serve).by ?? 'targetingKey' }
}

/** Whether there is an environment in which two members meet. */
export function meet ({ environment: one }: Pick<Member, 'environment'>, { environment: other }: Pick<Member, 'environment'>): boolean {
  return one === undefined || other === undefined || one === other
}

/** A stretch of a layer, in percent; without a holder it is free. */
export interface Stretch { readonly from: number, readonly to: number, readonly holder: string | undefined }

/** Where the holdout of a layer begins, which ends at 100: the largest counts that any member asks for. */
export function holdoutFrom (members: readonly Member[]): number {
  const most = members.reduce((most, { holdout }) => Math.max(most, holdout), 0)
  return Math.round((100 - most) * 1e6) / 1e6 // 100 - 99.9 is not 0.1
}

/** A layer from 0 to its holdout, without gaps. Where ranges overlap, though the checks refuse that, the first of the members holds. */
export function stretchesOf (members: readonly Member[], end = holdoutFrom(members)): Stretch[] {
  const ranges = members.flatMap(({ flag, range: [from = 0, to = 0] = [] }) => from < to ? [{ flag, from, to }] : [])
  const cuts = [...new Set([0, end, ...ranges.flatMap(({ from, to }) => [from, to])])].filter((cut) => cut <= end).sort((a, b) => a - b)
  return cuts.slice(1).map((to, index) => {
    const from = cuts[index]!
    return { from, to, holder: ranges.find((range) => range.from <= from && to <= range.to)?.flag }
  })
}
