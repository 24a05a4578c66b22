import type { EvaluationContext } from '../model/context.js'
import type { GuardedRollout } from '../model/guard.js'
import type { Draw, Staged } from '../model/serve.js'
import { firstEntries, lowestEntryOf, reader, textOf } from './attributes.js'
import { foldFor, hash, isBelow, Split, thresholdOf } from './bucket.js'
import type { Cause, Outcome, Reason } from './details.js'
import type { Layer, Layers } from './layers.js'
import { onSides, type Answer } from './outcomes.js'
import { beginningsOf, stageOf } from '../model/stages.js'
import type { Subject } from './subject.js'

/** What a serve compiles to: its one answer, or a function that chooses among its answers. */
export type Served = Outcome | ((subject: Subject) => Outcome)

/** Hot: asking what kind of thing it is costs less than a call. */
export function give (served: Served, subject: Subject): Outcome {
  return typeof served === 'function' ? served(subject) : served
}

/** Where a serve stands: what decides when it leaves something out, and what it answers when nothing is drawn. */
export interface Place {
  readonly answer: Answer
  /** The answers of those who are in by name, not by chance: no experiment counts them. */
  readonly named: Answer
  /** The rollout in stages that the serve is, where it has a guard. */
  readonly guarded: GuardedRollout | undefined
  readonly seed: string
  readonly otherwise: string | undefined
  readonly constant: { readonly reason: Reason, readonly cause: Cause }
  /** The reason when there is nothing to hash. */
  readonly unkeyed: Reason
  /** The layer that the experiment beside the serve shares with others. */
  readonly layer?: { readonly name: string, readonly flag: string, readonly environment: string } | undefined
}

/** Reads what a draw hashes; '' when it is missing, empty, or cannot be read as text. */
export function keyReader (by: string | undefined): (context: EvaluationContext) => string {
  if (by === undefined) return targetingKeyOf
  const read = reader(by)
  return (context) => textOf(read(context)) ?? ''
}

/** Who asks, '' when nobody can be made out. */
export function targetingKeyOf ({ targetingKey }: EvaluationContext): string {
  return typeof targetingKey === 'string' ? targetingKey : textOf(targetingKey) ?? ''
}

/** What is served, and to how many. */
export function compileDraw (draw: Draw, place: Place): Served {
  const { variant, percentage, stages, by, seed = place.seed, otherwise = place.otherwise } = draw
  const { answer, named, constant, unkeyed, layer } = place
  const isForEveryone = percentage === undefined && stages === undefined
  if (isForEveryone && draw.split === undefined) return answer(variant, constant.reason, constant.cause)

  const keyOf = keyReader(by)
  const noKey = answer(otherwise, unkeyed, 'no-bucketing-key')
  const chosen = chosenBy(answer)
  if (isForEveryone) return within(chosen)
  const miss = missBy(answer)
  return stages === undefined ? within(partOf(percentage!)) : staged({ ...draw, stages })

  function chosenBy (answer: Answer): Served {
    return draw.split === undefined ? answer(variant, 'SPLIT', 'rollout-hit') : split(draw.split, answer)
  }

  function missBy (answer: Answer): Outcome {
    return answer(otherwise, 'SPLIT', 'rollout-miss')
  }

  function split (weights: Record<string, number>, answer: Answer): Served {
    const split = new Split(Object.entries(weights).map(([name, weight]) => ({ name, weight, outcome: answer(name, 'SPLIT', 'split') })))
    if (split.only !== undefined) return split.only
    const { state, length } = foldFor(seed, 'split')
    return (subject) => {
      const key = keyOf(subject.context)
      return key === '' ? noKey : split.pick(hash(state, length, key))
    }
  }

  function partOf (percentage: number, sides?: Answer): Served {
    if (percentage <= 0) return miss
    if (percentage >= 100) return chosen
    const [hit, out] = sides === undefined ? [chosen, miss] : [chosenBy(sides), missBy(sides)]
    const { state, length } = foldFor(seed, 'rollout')
    const threshold = thresholdOf(percentage)
    return (subject) => {
      const key = keyOf(subject.context)
      if (key === '') return noKey
      return isBelow(threshold, hash(state, length, key)) ? give(hit, subject) : out
    }
  }

  /** Only for whom the layer leaves to this experiment. */
  function within (served: Served): Served {
    if (layer === undefined) return served
    const { name, flag, environment } = layer
    const missed = named(otherwise, 'SPLIT', 'layer-miss')
    let layers: Layers | undefined
    let own: Layer
    return (subject) => {
      const key = keyOf(subject.context)
      if (key === '') return noKey
      if (subject.snapshot.layers !== layers) own = (layers = subject.snapshot.layers).in(environment, name)
      return own.holderOf(key) === flag ? give(served, subject) : missed
    }
  }

  function staged (draw: Staged): Served {
    const { stages } = draw
    const beginnings = beginningsOf(draw)
    const parts = [miss, ...stages.map(({ percentage }, stage) => partOf(percentage, place.guarded && onSides(answer, place.guarded, stage, keyOf)))].map(within) // from stage -1 on
    const groups = firstEntries(stages.map(({ groups }) => groups)) // the groups of all stages reached accumulate
    const grouped = draw.split === undefined ? named(variant, 'SPLIT', 'rollout-hit') : layer === undefined ? chosen : split(draw.split, named) // a layer may have left them to another experiment
    return (subject) => {
      const stage = stageOf(beginnings, subject.now)
      return give(lowestEntryOf(groups, subject.context.groups) <= stage ? grouped : parts[stage + 1]!, subject)
    }
  }
}
