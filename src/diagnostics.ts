import { channel } from 'node:diagnostics_channel'
import type { ErrorCode, FlagMetadata, Reason, ResolutionDetails } from './evaluation/details.js'
import type { Subject } from './evaluation/subject.js'
import type { EvaluationContext } from './model/context.js'

/*
 * What happens to flags, on `node:diagnostics_channel`, for telemetry. It costs nothing while nobody subscribes. Messages
 * give the evaluation context by reference: it may hold personal data, so what a subscriber logs of it is its own choice.
 */

/** An `EvaluationMessage` for each `isEnabled`, `getVariant`, `getValue` and `getDetails` of a flag that is there; none for `getAll` and `explain`. */
export const evaluations = channel('fastify-flags:evaluation')
/** An `ExposureMessage` when a user is shown a variant: `expose(key)`, `getValue` with `expose`, and each single read of an answer that an experiment, or a guard with a goal, counts. */
export const exposures = channel('fastify-flags:exposure')
/** A `ConversionMessage` for each `track(goal)`. */
export const conversions = channel('fastify-flags:conversion')

abstract class Message {
  readonly #subject: Subject
  readonly environment: string

  constructor (subject: Subject) {
    this.#subject = subject
    this.environment = subject.environment
  }

  /** Built only when it is read: a flag that needs no context may never have asked for it. */
  get context (): EvaluationContext {
    return this.#subject.context
  }
}

/** What was answered, in OpenFeature's words; on an error `value` is the caller's default. */
export class EvaluationMessage extends Message {
  readonly value: unknown
  readonly variant: string | undefined
  readonly reason: Reason
  readonly errorCode: ErrorCode | undefined
  readonly errorMessage: string | undefined
  readonly flagMetadata: FlagMetadata

  constructor (subject: Subject, readonly key: string, { value, variant, reason, errorCode, errorMessage, flagMetadata }: ResolutionDetails) {
    super(subject)
    this.value = value
    this.variant = variant
    this.reason = reason
    this.errorCode = errorCode
    this.errorMessage = errorMessage
    this.flagMetadata = flagMetadata
  }
}

export class ExposureMessage extends Message {
  constructor (subject: Subject, readonly key: string, readonly variant: string, readonly reason: Reason, readonly flagMetadata: FlagMetadata) {
    super(subject)
  }
}

export class ConversionMessage extends Message {
  /** `value` is a finite number, or undefined where none was given. */
  constructor (subject: Subject, readonly goal: string, readonly value: number | undefined) {
    super(subject)
  }
}
