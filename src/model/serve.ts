import Type, { type Static } from 'typebox'
import { DateTime } from './date-time.js'
import { Alarm, Guard } from './guard.js'
import { Key } from './key.js'

export const Percentage = Type.Number({ minimum: 0, maximum: 100, description: 'a number from 0 to 100, such as 25 or 0.5' })

/** One step of a staged rollout. Its groups are in from here on, whatever the percentage. */
export const Stage = Type.Object({
  percentage: Percentage,
  groups: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 1000, description: 'a text of 1 to 1000 characters' }), { description: 'a list of group names' })),
  hours: Type.Optional(Type.Number({ exclusiveMinimum: 0, description: 'how many hours this stage lasts, more than 0' })),
  at: Type.Optional(DateTime('when this stage begins'))
}, { additionalProperties: false, description: 'a stage such as { "percentage": 25 }' })
export type Stage = Static<typeof Stage>

/**
 * Where a staged rollout stands, kept by the server. `stage` is 0-based; times are ISO strings of the store's clock.
 * The rollout's clock stands at `pausedAt` (a person or its guard paused it) or `disabledAt` (its flag or environment is off) until that
 * goes. Of a guarded rollout: its guard counts from `guardedSince`, this stage has seen its minimum of requests at `enoughAt`, and `alarm`
 * is what the guard stopped it for.
 */
export const RolloutState = Type.Object({
  stage: Type.Integer({ minimum: 0, description: 'the number of a stage, the first being 0' }),
  since: DateTime('when this stage was reached'),
  pausedAt: Type.Optional(DateTime('when the rollout was paused')),
  disabledAt: Type.Optional(DateTime('when the flag or its environment was disabled')),
  guardedSince: Type.Optional(DateTime('when its guard began to count')),
  enoughAt: Type.Optional(DateTime('when this stage had seen as many requests as its guard needs')),
  alarm: Type.Optional(Alarm)
}, { additionalProperties: false, description: 'where the rollout stands; kept by the server, ignored when sent' })
export type RolloutState = Static<typeof RolloutState>

/** What is served, and to how many. */
export const Draw = Type.Object({
  variant: Type.Optional(Key),
  split: Type.Optional(Type.Record(Key, Type.Number({ minimum: 0, description: 'a weight, 0 or more, such as 50' }), { additionalProperties: false, description: 'an object of variant to weight, such as { "a": 50, "b": 50 }' })),
  percentage: Type.Optional(Percentage),
  stages: Type.Optional(Type.Array(Stage, { minItems: 1, maxItems: 100, description: 'a list of one or more stages whose percentages never fall' })),
  guard: Type.Optional(Guard),
  otherwise: Type.Optional(Key),
  by: Type.Optional(Type.String({ minLength: 1, maxLength: 200, description: 'the name of the attribute that is hashed; left out, the targeting key' })),
  seed: Type.Optional(Type.String({ minLength: 1, maxLength: 200, description: 'a text that picks other users than another seed; left out, the key of the flag' })),
  state: Type.Optional(RolloutState)
}, { additionalProperties: false, description: 'an object such as { "percentage": 25 } or { "split": { "a": 50, "b": 50 } }' })
export type Draw = Static<typeof Draw>

/** A rollout in stages. */
export type Staged = Draw & { stages: Stage[] }

export const Serve = Type.Union([Key, Draw], { description: 'the name of a variant, or an object such as { "percentage": 25 } or { "split": { "a": 50, "b": 50 } }' })
export type Serve = Static<typeof Serve>

export function isStaged (serve: Serve | undefined): serve is Staged {
  return typeof serve === 'object' && serve.stages !== undefined
}
