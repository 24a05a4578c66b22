import { createHash } from 'node:crypto'
import Type, { type Static } from 'typebox'
import { DateTime } from './date-time.js'
import type { Experiment } from './experiment.js'
import type { Environment, Flag } from './flag.js'
import { environmentOf, servesOf } from './meaning.js'
import type { Draw, Serve, Stage, Staged } from './serve.js'

const AtMost = Type.Optional(Type.Number({ minimum: 1, maximum: 100, description: 'how many times as many as without it are still fine, from 1 (left out) to 100' }))

/** What watches a rollout in stages: it compares the requests of those who are in with those of the others. */
export const Guard = Type.Object({
  errors: Type.Optional(Type.Object({ atMost: AtMost }, { additionalProperties: false, description: 'an object such as {} or { "atMost": 1.5 }' })),
  latency: Type.Optional(Type.Object({
    overMs: Type.Number({ exclusiveMinimum: 0, maximum: 3_600_000, description: 'milliseconds, more than 0: answers that take longer are slow' }),
    atMost: AtMost
  }, { additionalProperties: false, description: 'an object such as { "overMs": 500 }' })),
  goal: Type.Optional(Type.Object({
    name: Type.String({ minLength: 1, maxLength: 100, description: 'the name of a goal as it is tracked, such as "purchase"' })
  }, { additionalProperties: false, description: 'an object such as { "name": "purchase" }' })),
  minimum: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000_000, description: 'a whole number: so many requests of those who are in must have been seen at a stage before the clock may leave it; left out, 200' })),
  action: Type.Optional(Type.Enum(['rollback', 'pause'], { description: '"rollback" (left out) or "pause"' }))
}, { additionalProperties: false, description: 'a guard such as { "errors": {}, "latency": { "overMs": 500 } }' })
export type Guard = Static<typeof Guard>

/** What a guard compares. errors: answers with a status of 500 or more. latency: answers slower than `overMs`. goal: units that reach it. */
const metrics = ['errors', 'latency', 'goal'] as const
export type Metric = typeof metrics[number]

const Side = Type.Object({
  count: Type.Number({ description: 'how many requests were bad, or units reached the goal' }),
  of: Type.Number({ description: 'of how many' })
}, { additionalProperties: false, description: 'an object such as { "count": 3, "of": 1200 }' })

/** Why a guard stopped a rollout: the numbers it saw of those who are in (`treated`) and of the others. */
export const Alarm = Type.Object({
  metric: Type.Enum(metrics, { description: 'errors, latency or goal' }),
  stage: Type.Integer({ minimum: 0, description: 'the number of the stage it was stopped at' }),
  at: DateTime('when it was stopped'),
  chance: Type.Number({ description: 'how often chance alone would bring such numbers, at most' }),
  control: Side,
  treated: Side
}, { additionalProperties: false, description: 'what the guard saw; kept by the server, ignored when sent' })
export type Alarm = Static<typeof Alarm>

/** What a guard saw, for a sentence. */
export function tellAlarm ({ metric, treated, control }: Alarm): string {
  const of = `${treated.count} of ${treated.of}`
  const others = `and ${control.count} of ${control.of} without it`
  if (metric === 'goal') return `${of} reached its goal with it, ${others}`
  return `${of} requests ${metric === 'errors' ? 'failed' : 'were slow'} with it, ${others}`
}

/** So many requests of those who are in a stage must see before the clock may leave it, unless the guard says another number. */
export const defaultMinimum = 200

/** Whether a stage has both those who are in and others, and so somebody to compare. */
export function isCompared ({ percentage }: Stage): boolean {
  return percentage > 0 && percentage < 100
}

/** A rollout that its guard has stopped, and why. */
export interface StoppedRollout {
  readonly flag: string
  /** Undefined for a flag without environments. */
  readonly environment: string | undefined
  /** The rule it stands in, its name or else its index; undefined for the serve of all others. */
  readonly rule: string | undefined
  readonly alarm: Alarm
}

/** A rollout under guard, from when its guard began to count. */
export interface GuardedRollout {
  /** Another one whenever it counts anew: with other stages, another guard, others who are drawn, or after a stop. */
  readonly id: string
  readonly flag: string
  /** Undefined for a flag without environments, whose one rollout is that of all. */
  readonly environment: string | undefined
  /** The rule it stands in, its name or else its index; undefined for the serve of all others. */
  readonly rule: string | undefined
  readonly guard: Guard
  readonly stages: readonly Stage[]
  /** The attribute that names a unit; undefined is the targeting key. */
  readonly by: string | undefined
}

/** The rollout of a serve, or undefined where it has no stages or no guard. */
export function guardedRolloutOf (flag: string, environment: string | undefined, rule: string | undefined, { stages, guard, by, seed, state }: Draw): GuardedRollout | undefined {
  if (stages === undefined || guard === undefined) return undefined
  const identity = JSON.stringify([flag, environment ?? null, rule ?? null, by ?? '', seed ?? '', stages, guard, state?.guardedSince ?? ''])
  return Object.freeze({ id: idOf(identity), flag, environment, rule, guard, stages, by })
}

/** A guarded rollout, and the serve that it is of. */
export interface GuardedServe { readonly rollout: GuardedRollout, readonly draw: Staged & { guard: Guard } }

/** The rollouts under guard of a flag in an environment. */
export function guardedServesOf (key: string, flag: Flag, environment: string): GuardedServe[] {
  const settings = environmentOf(flag, environment)
  if (settings === undefined) return []
  return servesOf(settings).flatMap(({ serve, rule }) => {
    const rollout = typeof serve === 'object' ? guardedRolloutOf(key, flag.environments && environment, rule, serve) : undefined
    return rollout === undefined ? [] : [{ rollout, draw: serve as GuardedServe['draw'] }]
  })
}

/** Whether any of its serves has a guard. */
export function isGuarded ({ serve, rules }: Environment): boolean {
  return hasGuard(serve) || rules?.some(({ serve }) => hasGuard(serve)) === true
}

function hasGuard (serve: Serve | undefined): boolean {
  return typeof serve === 'object' && serve.guard !== undefined
}

/**
 * Those whom a stage of a guarded rollout draws, as an experiment: at each stage units are compared that were first seen at it,
 * for the share of those who are in differs from stage to stage, and with it how long each side has had to reach a goal.
 */
export function cohortOf ({ id, flag, environment, by, stages }: GuardedRollout, stage: number): Experiment {
  const treated = stages[stage]!.percentage / 100
  return Object.freeze({ id: idOf(`${id} ${stage}`), flag, environment: environment ?? '', variants: ['control', 'treated'], control: 'control', shares: { control: 1 - treated, treated }, by })
}

function idOf (text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16)
}
