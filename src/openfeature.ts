import { ErrorCode, OpenFeatureEventEmitter, ProviderEvents, ProviderNotReadyError, type EvaluationContext, type FlagMetadata, type JsonValue, type Provider, type ResolutionDetails, type TrackingEventDetails } from '@openfeature/server-sdk'
import { errors } from './errors.js'
import { affectedBy } from './evaluation/affected.js'
import type { Beginning } from './evaluation/boundaries.js'
import type { FastifyFlags } from './facade.js'
import type { ChangeEvent } from './replica.js'

/** How long `initialize` waits for the first flags; milliseconds. Registering the plugin has waited half a second before. */
const patience = 5000

/**
 * OpenFeature's server SDK, answered by the flags of this process: `OpenFeature.setProviderAndWait(new FlagsProvider(app.flags))`.
 * Evaluation rejects nothing: what goes wrong is in the details. Closing the provider leaves the app's flags as they are.
 */
export class FlagsProvider implements Provider {
  readonly metadata = { name: 'fastify-flags' } as const
  readonly runsOn = 'server'
  readonly events = new OpenFeatureEventEmitter()
  readonly #flags: FastifyFlags
  #following: AbortController | undefined

  constructor (flags: FastifyFlags) {
    if (typeof flags?.for !== 'function') throw new errors.INVALID_OPTION('FlagsProvider needs app.flags; is fastify-flags registered in this scope, and awaited?')
    this.#flags = flags
  }

  /**
   * Resolves once there is something to answer with: from the store, `bootstrap` or a snapshot file. Rejects with
   * PROVIDER_NOT_READY after 5 seconds without, or when it is closed before; if flags come later the provider says READY.
   */
  async initialize (): Promise<void> {
    this.#following?.abort()
    const { signal } = (this.#following = new AbortController())
    try {
      if (this.#flags.status === 'NOT_READY') await this.#firstFlags(signal)
    } finally {
      if (!signal.aborted) this.#follow(signal)
    }
  }

  async onClose (): Promise<void> {
    this.#following?.abort()
  }

  async resolveBooleanEvaluation (key: string, fallback: boolean, context: EvaluationContext): Promise<ResolutionDetails<boolean>> {
    return this.#resolve(key, fallback, false, context)
  }

  async resolveStringEvaluation (key: string, fallback: string, context: EvaluationContext): Promise<ResolutionDetails<string>> {
    return this.#resolve(key, fallback, '', context)
  }

  async resolveNumberEvaluation (key: string, fallback: number, context: EvaluationContext): Promise<ResolutionDetails<number>> {
    return this.#resolve(key, fallback, 0, context)
  }

  /** An object, or a list where the fallback is one; where that is null, either. */
  async resolveObjectEvaluation<T extends JsonValue> (key: string, fallback: T, context: EvaluationContext): Promise<ResolutionDetails<T>> {
    const details = this.#resolve(key, fallback, fallback, context)
    if ((fallback ?? null) !== null || typeof (details.value ?? null) === 'object') return details
    return { value: fallback, reason: 'ERROR', errorCode: ErrorCode.TYPE_MISMATCH, errorMessage: `the flag's values are of type ${typeof details.value}` }
  }

  /** Notes a conversion, with the `value` of its details. */
  track (goal: string, context?: EvaluationContext, details?: TrackingEventDetails): void {
    this.#flags.for(context).track(goal, { value: details?.value })
  }

  /** `like` has the type that the value must have, also where a caller without types gives another fallback, or none. */
  #resolve<T extends JsonValue> (key: string, fallback: T, like: JsonValue, context: EvaluationContext): ResolutionDetails<T> {
    const { value, variant, reason, errorCode, errorMessage, flagMetadata } = this.#flags.for(context).getDetails<string, unknown>(key, like)
    const details = { variant, reason, flagMetadata: flagMetadata as FlagMetadata }
    if (errorCode === undefined) return { ...details, value: value as T }
    return { ...details, value: fallback, errorCode: ErrorCode[errorCode], errorMessage }
  }

  #firstFlags (closed: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void) => () => {
        clearTimeout(timer)
        this.#flags.off('ready', come)
        closed.removeEventListener('abort', giveUp)
        settle()
      }
      const come = end(resolve)
      const giveUp = end(() => {
        const why = closed.aborted ? 'the provider was closed before' : this.#flags.problem?.message ?? 'the store has not answered'
        reject(new ProviderNotReadyError(`no flags have been loaded yet: ${why}`))
      })
      const timer = setTimeout(giveUp, patience)
      this.#flags.once('ready', come)
      closed.addEventListener('abort', giveUp)
    })
  }

  #follow (closed: AbortSignal): void {
    const flags = this.#flags
    const ready = () => { this.events.emit(ProviderEvents.Ready) }
    const stale = () => { this.events.emit(ProviderEvents.Stale, { message: flags.problem?.message }) }
    let { layers } = flags.for().snapshot
    const change = (change: Pick<ChangeEvent, 'flags' | 'segments'>) => {
      const { snapshot } = flags.for()
      this.events.emit(ProviderEvents.ConfigurationChanged, { flagsChanged: affectedBy(change, snapshot, layers) })
      layers = snapshot.layers
    }
    const stage = ({ flag, environment = flags.environment }: Beginning) => { if (environment === flags.environment) change({ flags: [flag], segments: [] }) }
    flags.on('ready', ready).on('stale', stale).on('change', change).on('stage', stage)
    closed.addEventListener('abort', () => { flags.off('ready', ready).off('stale', stale).off('change', change).off('stage', stage) })
    // The SDK says READY when `initialize` has resolved, whatever it resolves to; that this is STALE is to stand.
    if (flags.status === 'STALE') queueMicrotask(() => queueMicrotask(() => { if (flags.status === 'STALE') stale() }))
  }
}
