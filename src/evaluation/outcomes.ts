import type { Experiment } from '../model/experiment.js'
import type { Flag } from '../model/flag.js'
import { cohortOf, type GuardedRollout } from '../model/guard.js'
import type { JsonValue } from '../model/json.js'
import { offVariantOf, variantsOf } from '../model/meaning.js'
import { Arm } from './arm.js'
import type { Cause, Outcome, Reason } from './details.js'
import type { Served } from './draw.js'
import type { Provenance } from './snapshot.js'
import { Trial } from './trial.js'

/** Makes an outcome: frozen, and made once for each answer a flag can give. Throws when the flag has no such variant. */
export type Answer = (variant: string | undefined, reason: Reason, cause: Cause) => Outcome

/** The answers of a flag in an environment; with `rule`, those that a rule gives. */
export function answersOf (flag: Flag, { version }: Provenance, environment: string): (rule?: string) => Answer {
  const variants = variantsOf(flag)
  const offVariant = offVariantOf(flag)
  const { rule: _, ...metadata } = flag.metadata ?? {} // only a rule's answer has one
  return (rule) => (variant, reason, cause) => {
    const value = variant === undefined ? undefined : variants.get(variant)
    if (value === undefined) throw new Error(variant === undefined ? 'the flag does not say which variant to serve' : `the flag has no variant ${variant}`)
    return Object.freeze({
      enabled: typeof value === 'boolean' ? value : variant !== offVariant || cause === 'split',
      counted: undefined,
      details: Object.freeze({
        value: deepFreeze(value),
        variant,
        reason,
        flagMetadata: Object.freeze({ ...metadata, cause, ...(rule !== undefined && { rule }), environment, version })
      })
    })
  }
}

/**
 * The same answers, those that chance draws on trial. Beside a split, whoever does not take part in it (rollout-miss) was
 * not drawn for any of its variants.
 */
export function onTrial (answer: Answer, experiment: Experiment, isSplit: boolean, unitOf: Trial['unitOf']): Answer {
  return (variant, reason, cause) => {
    const outcome = answer(variant, reason, cause)
    if (variant === undefined || reason !== 'SPLIT' || (isSplit && cause !== 'split')) return outcome
    return Object.freeze({ ...outcome, counted: Object.freeze({ trial: new Trial(experiment, variant, unitOf), arm: undefined }) })
  }
}

/** The same answers at a stage of a guarded rollout, each of the side that chance draws to it: rollout-miss of those who are not in. */
export function onSides (answer: Answer, rollout: GuardedRollout, stage: number, unitOf: Trial['unitOf']): Answer {
  const side = (variant: 'control' | 'treated'): Arm => {
    const trial = rollout.guard.goal === undefined ? undefined : new Trial(cohortOf(rollout, stage), variant, unitOf)
    return new Arm(rollout, stage, variant === 'treated', trial)
  }
  const [control, treated] = [side('control'), side('treated')]
  return (variant, reason, cause) => {
    const outcome = answer(variant, reason, cause)
    return Object.freeze({ ...outcome, counted: Object.freeze({ trial: outcome.counted?.trial, arm: cause === 'rollout-miss' ? control : treated }) })
  }
}

/** The same answers as of another environment; each is made once, when it is first given. */
export function retold (served: Served, environment: string): Served {
  const told = new Map<Outcome, Outcome>()
  const tell = (outcome: Outcome) => {
    let other = told.get(outcome)
    if (other === undefined) told.set(outcome, other = inEnvironment(outcome, environment))
    return other
  }
  return typeof served === 'function' ? (subject) => tell(served(subject)) : tell(served)
}

function inEnvironment (outcome: Outcome, environment: string): Outcome {
  const { details } = outcome
  if (details.flagMetadata.environment === undefined || details.flagMetadata.environment === environment) return outcome
  return Object.freeze({ ...outcome, details: Object.freeze({ ...details, flagMetadata: Object.freeze({ ...details.flagMetadata, environment }) }) })
}

/** The answer of a flag that cannot be evaluated: whoever asks is given their own default. */
export function failureOf (error: unknown): Outcome {
  const errorMessage = error instanceof Error ? error.message : String(error)
  const details = Object.freeze({ value: undefined, reason: 'ERROR', errorCode: 'GENERAL', errorMessage, flagMetadata: Object.freeze({}) } as const)
  return Object.freeze({ enabled: undefined, counted: undefined, details })
}

function deepFreeze (value: JsonValue): JsonValue {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    for (const part of Object.values(value)) deepFreeze(part)
    Object.freeze(value)
  }
  return value
}
