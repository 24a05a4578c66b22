import type { ErrorDetail } from '../errors.js'
import { pointer } from './json.js'
import { isCompared, type Guard } from './guard.js'
import { isBoolean, offVariantOf, variantMeant } from './meaning.js'
import { readMoment } from './readings.js'
import type { Draw, Serve, Stage } from './serve.js'
import { checkNamed, example, type Subject } from './variant-check.js'

type Details = Generator<ErrorDetail>

/** What the schema cannot say of a serve of the right form. */
export function * checkServe (subject: Subject, serve: Serve, path: string): Details {
  if (typeof serve === 'string') return yield * checkNamed(subject, serve, path)
  const { variant, split, percentage, stages, otherwise, guard } = serve
  if (variant !== undefined && split !== undefined) {
    yield { path: `${path}/split`, message: 'must not stand beside "variant": serve one variant, or draw among several' }
  } else if (variant === undefined && split === undefined && !isBoolean(subject.flag)) {
    yield { path: `${path}/variant`, message: `is missing; say which variant is served, such as ${example(subject)}, or give a "split"` }
  }
  if (percentage !== undefined && stages !== undefined) {
    yield { path: `${path}/stages`, message: 'must not stand beside "percentage": give one percentage, or stages that each have theirs' }
  }
  if (variant !== undefined) yield * checkNamed(subject, variant, `${path}/variant`)
  if (otherwise !== undefined) yield * checkNamed(subject, otherwise, `${path}/otherwise`)
  if (split !== undefined) yield * checkSplit(subject, split, `${path}/split`)
  if (stages !== undefined) yield * checkStages(stages, `${path}/stages`)
  if (guard !== undefined) yield * checkGuard(subject, serve, guard, `${path}/guard`)
}

/** A guard must have something to watch, and two sides to compare. */
function * checkGuard ({ flag }: Subject, { variant, split, percentage, stages, otherwise }: Draw, { errors, latency, goal }: Guard, path: string): Details {
  if (errors === undefined && latency === undefined && goal === undefined) {
    yield { path, message: 'must say what it watches: give it "errors": {}, "latency": { "overMs": 500 } or "goal": { "name": "purchase" }' }
  }
  if (stages === undefined) {
    yield { path, message: `needs "stages" beside it${percentage === undefined ? '' : ', not a "percentage"'}: it watches a rollout from stage to stage, such as [{ "percentage": ${percentage ?? 5}, "hours": 24 }, { "percentage": 100 }]` }
  } else if (!stages.some(isCompared)) {
    yield { path, message: 'has nobody to compare: give the rollout a stage of more than 0 and less than 100 %, or leave the guard out' }
  }
  const off = otherwise ?? offVariantOf(flag)
  if (split === undefined && off !== undefined && variantMeant(flag, variant) === off) {
    yield { path, message: `has nothing to compare: those who are in are served "${off}" as all others are; serve them another variant, or leave the guard out` }
  }
}

function * checkSplit (subject: Subject, split: Record<string, number>, path: string): Details {
  for (const name of Object.keys(split)) yield * checkNamed(subject, name, pointer(path, name))
  const sum = Object.values(split).reduce((sum, weight) => sum + weight, 0)
  if (sum === 0) yield { path, message: 'must give at least one variant a weight above 0' }
  else if (!Number.isFinite(sum)) yield { path, message: 'must have weights whose sum is a number; take smaller ones, only their relation counts' }
}

function * checkStages (stages: readonly Stage[], path: string): Details {
  let latest: string | undefined
  for (const [index, { percentage, at }] of stages.entries()) {
    const before = stages[index - 1]?.percentage ?? 0
    if (percentage < before) yield { path: `${path}/${index}/percentage`, message: `must be at least ${before}, as in the stage before: stages never fall` }
    if (at === undefined) continue
    if (latest !== undefined && readMoment(at)! < readMoment(latest)!) {
      yield { path: `${path}/${index}/at`, message: `must not be before ${latest}, when an earlier stage begins` }
    } else {
      latest = at
    }
  }
}
