import type { Arm } from './arm.js'
import type { Trial } from './trial.js'

/** OpenFeature's reasons, as far as this package gives them. */
export type Reason = 'STATIC' | 'DEFAULT' | 'TARGETING_MATCH' | 'SPLIT' | 'DISABLED' | 'ERROR'

/** Which line of the order of decision answered; in flag metadata as `cause`. */
export type Cause =
  | 'flag-disabled' | 'environment-missing' | 'environment-disabled' | 'prerequisite-failed'
  | 'target-user' | 'target-group' | 'target-region' | 'rule'
  | 'default' | 'layer-miss' | 'rollout-hit' | 'rollout-miss' | 'split' | 'no-bucketing-key'

export type ErrorCode = 'FLAG_NOT_FOUND' | 'TYPE_MISMATCH' | 'PROVIDER_NOT_READY' | 'GENERAL'

/** The flag's own `metadata`, and what this package adds. */
export interface FlagMetadata {
  readonly cause?: Cause
  /** The matching rule's name, or its index as text. */
  readonly rule?: string
  readonly environment?: string
  /** The revision of the flag's last change. */
  readonly version?: number
  readonly [key: string]: string | number | boolean | undefined
}

/** OpenFeature's resolution details. */
export interface ResolutionDetails<T = unknown> {
  readonly value: T
  readonly variant?: string
  readonly reason: Reason
  readonly errorCode?: ErrorCode
  readonly errorMessage?: string
  readonly flagMetadata: FlagMetadata
}

/** One possible answer of a flag: frozen, made once when the flag is compiled. `enabled` is what `isEnabled` says, undefined when the flag cannot be evaluated. */
export interface Outcome {
  readonly details: ResolutionDetails
  readonly enabled: boolean | undefined
  /** What to count when the answer is read; undefined without an experiment or a guard, and for answers that chance has not drawn. */
  readonly counted?: Counted | undefined
}

/** One of them, or both: what an experiment counts, and the side of a guarded rollout. */
export interface Counted { readonly trial?: Trial | undefined, readonly arm?: Arm | undefined }
