import type { Draw, Staged } from '../model/serve.js'
import { firstEntries, lowestEntryOf } from './attributes.js'
import { foldFor, hash, isBelow, percentageOf, Split, thresholdOf, type Purpose } from './bucket.js'
import type { Outcome } from './details.js'
import { keyReader, type Place } from './draw.js'
import type { Layer } from './layers.js'
import { beginningsOf, isHeldBack, stageOf } from '../model/stages.js'
import type { Subject } from './subject.js'

/** How a serve came to its variant. Buckets and thresholds are percentages: in when the bucket is below the threshold. */
export interface ExplainedDraw {
  /** What is hashed, where anything is: the attribute, its text (null when there is none), and the seed. */
  by?: string
  hashed?: string | null
  seed?: string
  stages?: ExplainedStages
  layer?: ExplainedLayer
  /** `bucket` is null when it was not needed, or there was nothing to hash. `group` is the stage's that is in whatever the bucket. */
  rollout?: { in: boolean | null, bucket: number | null, threshold: number, group?: string }
  split?: { weights: Record<string, number>, bucket: number | null, variant: string | null }
  variant: string
  why?: string
}

/** Which experiment of a layer somebody belongs to. */
export interface ExplainedLayer {
  name: string
  /** Whether it is this one; null, as is `place`, where there is nothing to hash. */
  in: boolean | null
  /** Where the unit stands, in percent of the layer. */
  place: number | null
  /** The flag whose experiment has it; null where none does. */
  holder: string | null
  holdout: boolean
}

/** Where a staged rollout stands: `stage` is 0-based, -1 before it begins. */
export interface ExplainedStages {
  stage: number
  of: number
  percentage: number
  /** Those of all stages reached. */
  groups: string[]
  since?: string
  /** When the next stage begins by itself. */
  next?: string
  /** Whether its guard has to see more of this stage before the next one may begin by itself. */
  heldBack?: true
  /** Since when the rollout's clock stands, and why. */
  pausedAt?: string
  disabledAt?: string
}

/** The steps of `compileDraw`, with what they saw. */
export function explainDraw (draw: Draw, place: Place, subject: Subject): { explained: ExplainedDraw, outcome: Outcome } {
  const { variant, split, percentage, stages, seed = place.seed, otherwise = place.otherwise } = draw
  const { answer, named, constant, unkeyed, layer } = place
  if (split === undefined && percentage === undefined && stages === undefined) {
    return { explained: { variant: variant! }, outcome: answer(variant, constant.reason, constant.cause) }
  }

  const { context } = subject
  const text = keyReader(draw.by)(context)
  const by = draw.by ?? 'targetingKey'
  const explained: ExplainedDraw = { by, hashed: text === '' ? null : text, seed, variant: otherwise! }
  const noKey = () => ({ explained: { ...explained, why: `there is nothing to hash: ${by} is missing, empty, or not a text or number` }, outcome: answer(otherwise, unkeyed, 'no-bucketing-key') })

  const at = stages === undefined ? undefined : standing({ ...draw, stages }, subject.now)
  if (at !== undefined) explained.stages = at
  const group = at?.groups[lowestEntryOf(firstEntries(at.groups.map((group) => [group])), context.groups)]
  if (layer !== undefined && group === undefined) {
    const own = subject.snapshot.layers.in(layer.environment, layer.name)
    explained.layer = explainLayer(layer, own, text)
    if (text === '') return noKey()
    if (explained.layer.in !== true) return { explained: { ...explained, why: whyNot(explained.layer, own, by) }, outcome: named(otherwise, 'SPLIT', 'layer-miss') }
  }

  if (stages !== undefined || percentage !== undefined) {
    const threshold = at === undefined ? percentage! : at.percentage
    const hashed = text === '' ? null : hashOf(seed, 'rollout', text)
    const isIn = group !== undefined || threshold >= 100 ? true : threshold <= 0 ? false : hashed === null ? null : isBelow(thresholdOf(threshold), hashed)
    explained.rollout = { in: isIn, bucket: hashed === null ? null : percentageOf(hashed), threshold, ...(group !== undefined && { group }) }
    if (isIn === null) return noKey()
    if (!isIn) return { explained, outcome: answer(otherwise, 'SPLIT', 'rollout-miss') }
    if (split === undefined) return { explained: { ...explained, variant: variant! }, outcome: answer(variant, 'SPLIT', 'rollout-hit') }
  }

  const shares = new Split(Object.entries(split!).map(([name, weight]) => ({ name, weight, outcome: name })))
  const hashed = text === '' ? null : hashOf(seed, 'split', text)
  const chosen = shares.only ?? (hashed === null ? null : shares.pick(hashed))
  explained.split = { weights: split!, bucket: hashed === null ? null : percentageOf(hashed), variant: chosen }
  return chosen === null ? noKey() : { explained: { ...explained, variant: chosen }, outcome: answer(chosen, 'SPLIT', 'split') }
}

function hashOf (seed: string, purpose: Purpose, text: string): number {
  const { state, length } = foldFor(seed, purpose)
  return hash(state, length, text)
}

function explainLayer ({ name, flag }: NonNullable<Place['layer']>, layer: Layer, unit: string): ExplainedLayer {
  if (unit === '') return { name, in: null, place: null, holder: null, holdout: false }
  const holder = layer.holderOf(unit) ?? null
  return { name, in: holder === flag, place: layer.placeOf(unit), holder, holdout: layer.isHeldOut(unit) }
}

function whyNot ({ name, holder, holdout }: ExplainedLayer, layer: Layer, by: string): string {
  if (layer.by !== by) return `the experiments of the layer ${name} draw by ${layer.by}: one that draws by ${by} takes nobody`
  return `whoever stands here in the layer ${name} ${holdout ? 'stays out of all its experiments' : holder === null ? 'belongs to no experiment' : `belongs to ${holder}`}`
}

const latest = 8.64e15 // the last moment that a Date can hold

function standing (draw: Staged, now: number): ExplainedStages {
  const { stages, state } = draw
  const beginnings = beginningsOf(draw)
  const stage = stageOf(beginnings, now)
  const moment = (time = Infinity) => Math.abs(time) <= latest ? new Date(time).toISOString() : undefined
  const since = moment(beginnings[stage]) ?? (stage === state?.stage ? state.since : undefined)
  const next = moment(beginnings[stage + 1])
  return {
    stage,
    of: stages.length,
    percentage: stages[stage]?.percentage ?? 0,
    groups: [...new Set(stages.slice(0, stage + 1).flatMap(({ groups = [] }) => groups))],
    ...(since !== undefined && { since }),
    ...(next !== undefined && { next }),
    ...(isHeldBack(draw, stage) && beginningsOf({ ...draw, guard: undefined })[stage + 1] !== Infinity && { heldBack: true }),
    ...(state?.pausedAt !== undefined && { pausedAt: state.pausedAt }),
    ...(state?.disabledAt !== undefined && { disabledAt: state.disabledAt })
  }
}
