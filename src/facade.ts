import type { Admin } from './admin.js'
import type { FlagsError } from './errors.js'
import type { Recorder } from './experiments/recorder.js'
import { Flags } from './flags.js'
import type { GuardWatch } from './guards/watch.js'
import type { EvaluationContext } from './model/context.js'
import type { Replica, ReplicaEvents, Status } from './replica.js'

type Listener<E> = E extends keyof ReplicaEvents ? ReplicaEvents[E] extends unknown[] ? (...values: ReplicaEvents[E]) => void : never : never

/** What this process counts: for experiments, and for guarded rollouts. */
export interface Counting { readonly recorder: Recorder, readonly guards: GuardWatch }

/** `fastify.flags`: flags outside of requests, how this process stands with its store, and `admin`, which changes things. */
export class FastifyFlags {
  /** The environment of `request.flags`, and of `for` unless it names another. */
  readonly environment: string
  readonly admin: Admin
  readonly #replica: Replica
  readonly #counting: Counting

  constructor (replica: Replica, environment: string, admin: Admin, counting: Counting) {
    this.#replica = replica
    this.environment = environment
    this.admin = admin
    this.#counting = counting
  }

  /** For the routes of this package: an app has nothing to do there. */
  static countingOf (flags: FastifyFlags): Counting {
    return flags.#counting
  }

  /**
   * The flags as someone sees them: `for('user-1', { plan: 'pro' })`, `for({ targetingKey: 'user-1', groups: ['beta'] })`.
   * What it gives stays at this moment's flags; ask anew for each job, message or tick.
   */
  for (who?: string | EvaluationContext, attributes?: EvaluationContext, options?: { environment?: string }): Flags {
    const environment = typeof options?.environment === 'string' ? options.environment : this.environment
    const flags = new Flags(this.#replica, environment, who, this.#counting.recorder)
    return attributes === undefined ? flags : flags.with(attributes)
  }

  /** NOT_READY: nothing loaded yet. READY: in sync with the store. STALE: serving what was last known, or `bootstrap`. */
  get status (): Status {
    return this.#replica.status
  }

  /** The store's revision that is served; 0 before the first load. */
  get revision (): number {
    return this.#replica.revision
  }

  /** When the store last confirmed what is served: epoch milliseconds of this machine's clock, null while that is nothing or `bootstrap`. */
  get lastSyncedAt (): number | null {
    return this.#replica.lastSyncedAt
  }

  /** For how many seconds the store has not confirmed what is served: a number while STALE, null while READY or when it never did. */
  get staleSeconds (): number | null {
    const { status, lastSyncedAt } = this.#replica
    return status === 'STALE' && lastSyncedAt !== null ? Math.max(0, Math.round((Date.now() - lastSyncedAt) / 1000)) : null
  }

  /** What is wrong now, null when all is well. */
  get problem (): FlagsError | null {
    return this.#replica.problem
  }

  /** Reads what is new, or waits until revision `atLeast` is served. Resolves to whether it is, after 1.5 seconds at the latest; never rejects. */
  async sync (atLeast?: number): Promise<boolean> {
    return await this.#replica.sync(atLeast)
  }

  on<E extends keyof ReplicaEvents> (event: E, listener: Listener<E>): this {
    this.#replica.on(event, listener)
    return this
  }

  once<E extends keyof ReplicaEvents> (event: E, listener: Listener<E>): this {
    this.#replica.once(event, listener)
    return this
  }

  off<E extends keyof ReplicaEvents> (event: E, listener: Listener<E>): this {
    this.#replica.off(event, listener)
    return this
  }
}
