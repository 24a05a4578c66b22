import { experimentOf } from '../model/experiment.js'
import type { Environment, Flag } from '../model/flag.js'
import { guardedRolloutOf, type GuardedRollout } from '../model/guard.js'
import { layerOf } from '../model/layer.js'
import { drawOf, environmentOf, offVariantOf } from '../model/meaning.js'
import type { Serve } from '../model/serve.js'
import { keyReader, type Place } from './draw.js'
import { answersOf, onTrial, type Answer } from './outcomes.js'
import type { Provenance } from './snapshot.js'

/** A flag in an environment, and what makes its answers: what deciding and explaining have in common. */
export interface Plan {
  readonly key: string
  readonly flag: Flag
  readonly environment: string
  /** Empty where the flag has no such environment. */
  readonly settings: Environment
  readonly off: string | undefined
  /** With `rule`, the answers that this rule gives. */
  readonly answersBy: (rule?: string) => Answer
}

export function planOf (key: string, flag: Flag, provenance: Provenance, environment: string): Plan {
  return { key, flag, environment, settings: environmentOf(flag, environment) ?? {}, off: offVariantOf(flag), answersBy: answersOf(flag, provenance, environment) }
}

/** A rule's name, else its index. */
export function ruleName ({ settings }: Plan, index: number): string {
  return settings.rules![index]!.name ?? String(index)
}

/** Where a rule's serve stands. */
export function placeOfRule (plan: Plan, index: number): Place {
  const name = ruleName(plan, index)
  const answer = plan.answersBy(name)
  return { answer, named: answer, guarded: guardedBy(plan, plan.settings.rules![index]!.serve, name), seed: plan.key, otherwise: plan.off, constant: { reason: 'TARGETING_MATCH', cause: 'rule' }, unkeyed: 'TARGETING_MATCH' }
}

/** Where the serve for all others stands; its answer is STATIC where nothing before it could have answered. */
export function placeOfServe (plan: Plan): Place {
  const { key, flag, environment, settings, off, answersBy } = plan
  const { prerequisites = [], targets = [], rules = [], serve } = settings
  const isNamed = targets.some((target) => [target.users, target.groups, target.regions].some((names = []) => names.length > 0))
  const reason = prerequisites.length === 0 && !isNamed && rules.length === 0 ? 'STATIC' : 'DEFAULT'
  const named = answersBy()
  const experiment = experimentOf(key, flag, environment)
  const answer = experiment === undefined ? named : onTrial(named, experiment, drawOf(flag, serve).split !== undefined, keyReader(experiment.by))
  const name = layerOf(flag, settings)
  const layer = name === undefined ? undefined : { name, flag: key, environment }
  return { answer, named, guarded: guardedBy(plan, serve), seed: key, otherwise: off, constant: { reason, cause: 'default' }, unkeyed: 'DEFAULT', layer }
}

function guardedBy ({ key, flag, environment }: Plan, serve: Serve | undefined, rule?: string): GuardedRollout | undefined {
  return typeof serve === 'object' ? guardedRolloutOf(key, flag.environments && environment, rule, serve) : undefined
}
