import type { EvaluationContext } from '../model/context.js'
import type { Draw, Stage } from '../model/serve.js'
import { firstEntries, lowestOf, reader, textOf } from './attributes.js'
import { foldFor, hash, isBelow, Split, thresholdOf } from './bucket.js'
import type { Evaluate } from './compile.js'
import type { Cause, Outcome, Reason } from './details.js'
import type { Answer } from './outcomes.js'
import { beginningsOf, stageOf } from './stages.js'

/** Reads what a draw hashes; '' when it is missing, empty, or cannot be read as text. */
export type KeyReader = (context: EvaluationContext) => string

export function keyReader (by = 'targetingKey'): KeyReader {
  const read = reader(by)
  return (context) => {
    const value = read(context)
    return typeof value === 'string' ? value : textOf(value) ?? ''
  }
}

export function always (outcome: Outcome): Evaluate {
  return () => outcome
}

/** Where a draw stands: what decides when it leaves something out, and what it answers when nothing is drawn. */
export interface Place {
  readonly answer: Answer
  readonly seed: string
  readonly otherwise: string | undefined
  readonly constant: { readonly reason: Reason, readonly cause: Cause }
  /** The reason when there is nothing to hash. */
  readonly unkeyed: Reason
}

/** What is served, and to how many. */
export function compileDraw (draw: Draw, place: Place): Evaluate {
  const { variant, percentage, stages, state, by, seed = place.seed, otherwise = place.otherwise } = draw
  const { answer, constant, unkeyed } = place
  const isConstant = percentage === undefined && stages === undefined
  if (isConstant && draw.split === undefined) return always(answer(variant, constant.reason, constant.cause))

  const key = keyReader(by)
  const noKey = answer(otherwise, unkeyed, 'no-bucketing-key')
  const chosen = draw.split === undefined ? always(answer(variant, 'SPLIT', 'rollout-hit')) : split(draw.split)
  if (isConstant) return chosen
  const miss = answer(otherwise, 'SPLIT', 'rollout-miss')
  return stages === undefined ? partOf(percentage!) : staged(stages)

  function split (weights: Record<string, number>): Evaluate {
    const split = new Split(Object.entries(weights).map(([name, weight]) => ({ name, weight, outcome: answer(name, 'SPLIT', 'split') })))
    if (split.only !== undefined) return always(split.only)
    const fold = foldFor(seed, 'split')
    return (subject) => {
      const text = key(subject.context)
      return text === '' ? noKey : split.pick(hash(fold, text))
    }
  }

  function partOf (percentage: number): Evaluate {
    if (percentage <= 0) return always(miss)
    if (percentage >= 100) return chosen
    const fold = foldFor(seed, 'rollout')
    const threshold = thresholdOf(percentage)
    return (subject) => {
      const text = key(subject.context)
      if (text === '') return noKey
      return isBelow(threshold, hash(fold, text)) ? chosen(subject) : miss
    }
  }

  function staged (stages: Stage[]): Evaluate {
    const beginnings = beginningsOf(stages, state)
    const parts = [always(miss), ...stages.map(({ percentage }) => partOf(percentage))] // from stage -1 on
    const groups = firstEntries(stages.map(({ groups }) => groups)) // the groups of all stages reached accumulate
    return (subject) => {
      const stage = stageOf(beginnings, subject.now)
      return lowestOf(groups, subject.context.groups) <= stage ? chosen(subject) : parts[stage + 1]!(subject)
    }
  }
}
