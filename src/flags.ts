import { conversions, ConversionMessage, EvaluationMessage, evaluations, ExposureMessage, exposures } from './diagnostics.js'
import { errors, textOf, type FlagsError } from './errors.js'
import type { Arm } from './evaluation/arm.js'
import type { Counted, Outcome, ResolutionDetails } from './evaluation/details.js'
import { explain, type Explanation } from './evaluation/explain.js'
import type { Snapshot } from './evaluation/snapshot.js'
import type { Subject } from './evaluation/subject.js'
import type { Trial } from './evaluation/trial.js'
import type { Recorder } from './experiments/recorder.js'
import type { Fallback, FlagKey, FlagValues, Value } from './flag-types.js'
import { toContext, type EvaluationContext } from './model/context.js'
import { jsonTypeOf } from './model/json.js'
import type { Replica } from './replica.js'

/** A request that reads flags. */
export interface Source {
  /** Who sends it, asked when that is first needed. Never throws, and gives a context as `toContext` makes it: it is taken as it is. */
  readContext (): EvaluationContext
  /** It was served an answer that chance drew in a guarded rollout. */
  noteArm (arm: Arm): void
}

/**
 * The flags as one user sees them: `request.flags`, or what `fastify.flags.for(…)` gives. One snapshot and one now for its
 * whole life. No method throws, whatever it is given. The hot lines are those of `isEnabled`, `#fit`
 * and `#count`: one lookup, one closure, nothing allocated.
 */
export class Flags implements Subject {
  readonly snapshot: Snapshot
  readonly environment: string
  readonly #replica: Replica
  readonly #recorder: Recorder | undefined
  readonly #ready: boolean
  #context: EvaluationContext | undefined
  readonly #source: Source | undefined
  #now: number | undefined

  /**
   * `who` is a context or a targeting key, whatever a caller gave for one. With `recorder`, what experiments count is told to it.
   * `from` is the request that reads, which says itself who asks; or flags, to whose context `who` is added, and whose snapshot,
   * now and request are kept.
   */
  constructor (replica: Replica, environment: string, who: unknown, recorder?: Recorder, from?: Source | Flags) {
    const base = from instanceof Flags ? from : undefined
    this.snapshot = base?.snapshot ?? replica.snapshot
    this.environment = environment
    this.#replica = replica
    this.#recorder = recorder
    this.#ready = base === undefined ? replica.status !== 'NOT_READY' : base.#ready
    this.#now = base?.now
    this.#source = from instanceof Flags ? from.#source : from
    if (base !== undefined) this.#context = this.#read(base.context, who)
    else if (from === undefined) this.#context = this.#read(who)
  }

  /** Who asks: a copy of what was given. */
  get context (): Readonly<EvaluationContext> {
    return (this.#context ??= this.#source!.readContext())
  }

  /** Epoch milliseconds by the store's clock; the same for as long as this object lives. */
  get now (): number {
    return (this.#now ??= this.#replica.now())
  }

  /** Whether the flag is on: a boolean flag's value; of others, whether a variant but `offVariant` is served. `fallback` when it cannot be said. */
  isEnabled (key: FlagKey, fallback = false): boolean {
    const outcome = this.snapshot.flag(key)?.evaluate(this)
    const answer = outcome?.enabled ?? fallback
    if (outcome?.counted !== undefined) this.#count(key, outcome.details, outcome.counted)
    if (evaluations.hasSubscribers) this.#tell(key, outcome?.details ?? this.#missing(key, fallback))
    return answer
  }

  /** The name of the variant served; `fallback` when there is none. */
  getVariant<D extends string | undefined = undefined> (key: FlagKey, fallback?: D): string | D {
    const outcome = this.snapshot.flag(key)?.evaluate(this)
    const details = this.#fit(key, outcome, undefined)
    if (outcome?.counted !== undefined) this.#count(key, outcome.details, outcome.counted)
    if (evaluations.hasSubscribers) this.#tell(key, details)
    return details.variant ?? fallback as D
  }

  /**
   * The value served; `fallback` when there is none, or none of its JSON type. `expose` says whether the user is shown it:
   * left out, that is so where the flag has an experiment, or a guard with a goal. With false `expose(key)` says it later.
   */
  getValue<K extends FlagKey, D extends Fallback<K>> (key: K, fallback: D, options?: { expose?: boolean }): Value<K, D> {
    const outcome = this.snapshot.flag(key)?.evaluate(this)
    const details = this.#fit(key, outcome, fallback)
    if (evaluations.hasSubscribers) this.#tell(key, details)
    if (outcome?.details === details) this.#show(key, outcome, options?.expose)
    return details.value as Value<K, D>
  }

  /** The value with OpenFeature's resolution details: which variant, why, and what went wrong. */
  getDetails<K extends FlagKey, D extends Fallback<K>> (key: K, fallback: D): ResolutionDetails<Value<K, D>> {
    const outcome = this.snapshot.flag(key)?.evaluate(this)
    const details = this.#fit(key, outcome, fallback)
    if (evaluations.hasSubscribers) this.#tell(key, details)
    if (outcome?.details === details) this.#show(key, outcome)
    return details as ResolutionDetails<Value<K, D>>
  }

  /** Every flag's value by its key, for a front end; flags that have none are left out. `publicOnly` leaves out what browsers must not see. */
  getAll ({ publicOnly = false }: { publicOnly?: boolean } = {}): FlagValues {
    const values: Record<string, unknown> = {}
    for (const entry of this.snapshot.flags()) {
      if (publicOnly && !entry.outline.public) continue
      const { details } = entry.evaluate(this)
      if (details.reason !== 'ERROR') values[entry.key] = details.value
    }
    return values as FlagValues
  }

  /** How the flag comes to its answer, step by step; of a flag that is not there, only that. */
  explain (key: FlagKey): Explanation {
    const entry = this.snapshot.flag(key)
    if (entry !== undefined) return explain(entry, this)
    return { key, environment: this.environment, now: new Date(this.now).toISOString(), steps: [], resolution: this.#missing(key, undefined) }
  }

  /** Notes that the user is shown what this flag serves. Nothing is noted of a flag that serves nothing. */
  expose (key: FlagKey): void {
    const outcome = this.snapshot.flag(key)?.evaluate(this)
    if (outcome !== undefined) this.#expose(key, outcome.details, outcome.counted?.trial, outcome.counted?.arm?.trial)
  }

  /**
   * Notes that the user reached a goal, for every experiment they are a unit of. `value` is a number from 0 to 10^12; with
   * another one, or a goal that is no text of 1 to 100 characters, nothing is counted, and that is reported as a problem.
   */
  track (goal: string, options?: { value?: number }): void {
    const value = options?.value
    try {
      this.#recorder?.track(this, goal, value)
    } catch (error) {
      this.#replica.report(error as FlagsError)
    }
    if (!conversions.hasSubscribers || typeof goal !== 'string' || goal === '') return
    conversions.publish(new ConversionMessage(this, goal, Number.isFinite(value) ? value : undefined))
  }

  /** The same flags at the same moment, with more context: what a handler learned later. */
  with (attributes: EvaluationContext): Flags {
    return new Flags(this.#replica, this.environment, attributes, this.#recorder, this)
  }

  #fit (key: string, outcome: Outcome | undefined, fallback: unknown): ResolutionDetails {
    if (outcome === undefined) return this.#missing(key, fallback)
    const { details } = outcome
    if (details.reason === 'ERROR') return { ...details, value: fallback }
    // A fallback of null or undefined has no type to hold the flag to.
    if (fallback === undefined || fallback === null || jsonTypeOf(details.value) === jsonTypeOf(fallback)) return details
    return { value: fallback, reason: 'ERROR', errorCode: 'TYPE_MISMATCH', errorMessage: `the flag's values are of type ${jsonTypeOf(details.value)}`, flagMetadata: {} }
  }

  #missing (key: unknown, value: unknown): ResolutionDetails {
    return this.#ready
      ? { value, reason: 'ERROR', errorCode: 'FLAG_NOT_FOUND', errorMessage: typeof key === 'string' ? `there is no flag ${key}` : 'the key of a flag is a text', flagMetadata: {} }
      : { value, reason: 'ERROR', errorCode: 'PROVIDER_NOT_READY', errorMessage: 'no flags have been loaded yet', flagMetadata: {} }
  }

  /** What the flag serves was given: whoever is given their own default instead is not shown it. */
  #show (key: string, { counted, details }: Outcome, expose?: boolean): void {
    if (counted !== undefined) this.#count(key, details, counted, expose)
    else if (expose === true) this.#expose(key, details)
  }

  /** The answer is one of those that chance has drawn; `expose` says whether the user is shown it. */
  #count (key: string, details: ResolutionDetails, { trial, arm }: Counted, expose = trial !== undefined || arm?.trial !== undefined): void {
    if (arm !== undefined) this.#source?.noteArm(arm)
    if (expose) this.#expose(key, details, trial, arm?.trial)
  }

  #expose (key: string, details: ResolutionDetails, trial?: Trial, trialOfGoal?: Trial): void {
    if (trial !== undefined) this.#recorder?.expose(trial, this)
    if (trialOfGoal !== undefined) this.#recorder?.expose(trialOfGoal, this)
    if (exposures.hasSubscribers) this.#tellExposure(key, details)
  }

  #tellExposure (key: string, { variant, reason, flagMetadata }: ResolutionDetails): void {
    if (variant !== undefined && reason !== 'ERROR') exposures.publish(new ExposureMessage(this, key, variant, reason, flagMetadata))
  }

  /** Of flags that are there only: keys that callers make up must fill nobody's memory and no label. */
  #tell (key: string, details: ResolutionDetails): void {
    if (details.errorCode === 'FLAG_NOT_FOUND' || details.errorCode === 'PROVIDER_NOT_READY') return
    evaluations.publish(new EvaluationMessage(this, key, details))
  }

  #read (who: unknown, attributes?: unknown): EvaluationContext {
    try {
      if (!(who instanceof Promise)) return toContext(who, attributes)
      who.catch(() => {})
      throw new TypeError('it is a promise, but must be there at once')
    } catch (error) {
      this.#replica.report(new errors.CONTEXT_FAILED(textOf(error), { cause: error }))
      return attributes === undefined ? toContext(undefined) : who as EvaluationContext
    }
  }
}
