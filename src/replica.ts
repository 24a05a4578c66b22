import { once } from 'node:events'
import { performance } from 'node:perf_hooks' // the global is a getter, which costs more than the clock
import { setTimeout as sleep } from 'node:timers/promises'
import { StageAnnouncer } from './replica/announce-stages.js'
import { CarefulEmitter } from './replica/careful-emitter.js'
import { bootstrapped, followed, loaded, type Bootstrap, type Known, type Touched } from './replica/documents.js'
import { Losses, type Moment } from './replica/losses.js'
import type { Left } from './replica/snapshot-file.js'
import { stamp } from './replica/stamps.js'
import { Turns } from './replica/turns.js'
import { errors, isFlagsError, textOf, type FlagsError } from './errors.js'
import type { Beginning } from './evaluation/boundaries.js'
import type { Snapshot } from './evaluation/snapshot.js'
import type { StoppedRollout } from './model/guard.js'
import { resetEpoch, type Kind, type Position, type Reading, type Store, type Write, type Written } from './store/store.js'

/** NOT_READY: nothing loaded yet. READY: in sync. STALE: serving what was last known, or `bootstrap`. */
export type Status = 'NOT_READY' | 'READY' | 'STALE'

export interface ReplicaOptions {
  store: Store
  /** Documents served, STALE, until the store first answers. */
  bootstrap?: Bootstrap
  /** What an earlier process left on disk, served in place of `bootstrap`. It is never put back into a store. */
  left?: Left
  /** Whether what is held in memory is put back into a store that has lost everything. */
  restores?: boolean
  /** How long without contact until STALE; milliseconds, 5,000 unless given. */
  staleAfter?: number
  /** Milliseconds between polls, the safety net and heartbeat beside the store's wake-ups; 1,000 unless given. */
  pollInterval?: number
}

/** `revision` is the store's after the change; `flags` and `segments` are the keys that changed, appeared or went. */
export interface ChangeEvent { revision: number, flags: string[], segments: string[] }

/** Each is emitted once for each change of state. A listener that throws is reported as a process warning. */
export interface ReplicaEvents {
  change: [ChangeEvent]
  ready: []
  stale: []
  problem: [FlagsError]
  /**
   * A stage has begun by the clock: told once in every process, whichever environment it is of, and late rather than never when
   * the store was silent. What a person moves is a `change`, and so is what had begun before this process knew of it.
   */
  stage: [Beginning]
  /** A guard has stopped its rollout: told in the one process whose write did it. */
  guard: [StoppedRollout]
}

/** How long `sync` waits for the store's answer; milliseconds. */
const syncPatience = 1500

/** How many different problems `report` remembers, so that texts made of user input cannot fill the memory or the log. */
const maxReported = 100

/** One process's copy of a store: a snapshot, moved forward by the log. */
export class Replica extends CarefulEmitter<ReplicaEvents> {
  readonly store: Store
  readonly #staleAfter: number
  readonly #pollInterval: number
  #known: Known
  #status: Status
  #failure: FlagsError | null = null
  readonly #losses: Losses
  readonly #stages = new StageAnnouncer(this, (begun) => { this.say('stage', begun) })
  readonly #left: Left | undefined
  #syncedAt: Moment | null = null
  /** What to add to `performance.now()` for the store's clock. It is monotonic: a leap of this machine's clock moves no rollout. */
  #clock = Date.now() - performance.now()
  #poll: NodeJS.Timeout | undefined
  #silence: NodeJS.Timeout | undefined
  readonly #reads = new Turns(() => this.#attempt())
  readonly #reported = new Set<string>()
  #closed = false

  /** Throws INVALID_OPTION when a bootstrap document is not valid. */
  constructor ({ store, bootstrap, left, restores = false, staleAfter = 5000, pollInterval = Math.min(1000, staleAfter / 3) }: ReplicaOptions) {
    super()
    this.store = store
    this.#staleAfter = staleAfter
    this.#pollInterval = pollInterval
    this.#losses = new Losses(store, restores)
    this.#left = left
    this.#known = left?.known ?? bootstrapped(bootstrap)
    this.#status = bootstrap === undefined && left === undefined ? 'NOT_READY' : 'STALE'
  }

  get snapshot (): Snapshot {
    return this.#known.snapshot
  }

  get status (): Status {
    return this.#status
  }

  /** The revision served; 0 before the first load. */
  get revision (): number {
    return this.#known.position?.revision ?? 0
  }

  /** The epoch last read; a write names it. */
  get epoch (): string | null {
    return this.#known.position?.epoch ?? null
  }

  /** When the store last confirmed what is served: epoch milliseconds of this machine's clock, null while that is nothing or `bootstrap`. */
  get lastSyncedAt (): number | null {
    return this.#syncedAt?.wall ?? this.#left?.syncedAt ?? null
  }

  /** What is served as the store last confirmed it, to be left on disk; undefined until it did. */
  get held (): Left | undefined {
    if (this.#syncedAt === null) return undefined
    return { known: this.#known, time: Math.round(this.#clock + this.#syncedAt.monotonic), syncedAt: this.#syncedAt.wall }
  }

  /** What is wrong now: the last failure to read the store, a document that cannot be read, or for an hour writes that the store lost. Null when all is well. */
  get problem (): FlagsError | null {
    const [damage] = this.#known.damage.values()
    return this.#failure ?? damage?.error ?? this.#losses.problem
  }

  /** The version in the store of a document that cannot be read (null: not even that can), undefined when it can be. */
  damagedVersion (kind: Kind, key: string): number | null | undefined {
    return this.#known.damage.get(`${kind}:${key}`)?.version
  }

  /** The store's clock, epoch milliseconds; it does not run ahead of the last contact by more than `staleAfter`. */
  now (): number {
    const now = performance.now()
    if (this.#syncedAt !== null) return Math.round(this.#clock + Math.min(now, this.#syncedAt.monotonic + this.#staleAfter))
    return Math.round(Math.min(this.#clock + now, (this.#left?.time ?? Infinity) + this.#staleAfter))
  }

  /** Writes to the store, and remembers what it acknowledged, should it lose that. */
  async write (write: Write): Promise<Written> {
    const written = await this.store.write(write)
    this.#losses.note(write, written)
    return written
  }

  /** Begins to follow the store. Resolves when everything is loaded, or after `patience` milliseconds; it goes on trying either way. */
  async start (patience = 500): Promise<void> {
    const waiting = new AbortController()
    const ready = once(this, 'ready', { signal: waiting.signal })
    this.store.watch(() => { void this.#reads.take() })
    this.#poll = setInterval(() => { void this.#reads.take() }, this.#pollInterval).unref()
    this.#silence = setTimeout(() => this.#fallSilent(), this.#staleAfter).unref()
    this.#stages.look() // at what is served until the store answers
    void this.#reads.take()
    await Promise.race([ready, sleep(patience, undefined, { signal: waiting.signal })])
    waiting.abort()
  }

  /**
   * Reads what is new, or waits until revision `atLeast` is served. Resolves to whether the store answered and that revision
   * is served, after 1.5 seconds at the latest. Never rejects: a failure is in `problem`.
   */
  async sync (atLeast?: number): Promise<boolean> {
    const served = () => this.#failure === null && this.revision >= (atLeast ?? 0)
    const reads = async () => {
      if (atLeast !== undefined) {
        if (!served()) await this.#reads.underWay
        if (served()) return
      }
      await this.#reads.take()
    }
    const late = new AbortController()
    const answered = await Promise.race([reads().then(() => true), sleep(syncPatience, false, { signal: late.signal })])
    late.abort()
    return answered && served()
  }

  /** Stops following and closes the store; resolves once no read is under way. What is served stays. */
  async close (): Promise<void> {
    this.#closed = true
    clearInterval(this.#poll)
    clearTimeout(this.#silence)
    this.#stages.close()
    try {
      await this.store.close()
    } finally {
      await this.#reads.underWay
    }
  }

  /** Said once each: the same text again is no news. For what goes wrong outside the store, such as a `context` option that throws. */
  report (problem: FlagsError): void {
    if (this.#reported.has(problem.message) || this.#reported.size >= maxReported) return
    this.#reported.add(problem.message)
    this.tell(problem)
  }

  /** Said each time. For who says by itself only what is new, such as that something fails again. */
  tell (problem: FlagsError): void {
    this.say('problem', problem)
  }

  /** This process has stopped a rollout for its guard. */
  tellStop (stopped: StoppedRollout): void {
    this.say('guard', stopped)
  }

  /** One read, all of whose failures are noted: never rejects. */
  async #attempt (): Promise<void> {
    if (this.#closed) return
    try {
      await this.#read()
    } catch (error) {
      if (!this.#closed) this.#fail(typed(error))
    }
  }

  async #read (): Promise<void> {
    const touched: Touched = { flag: new Set(), segment: new Set() }
    let known = this.#known
    let replaced = false
    let triedToRestore = false
    // What another process left behind is no ground to skip a load.
    let unconfirmed = this.#syncedAt === null
    let reading = await this.#ask(unconfirmed ? undefined : known.position)
    while (reading.kind === 'everything' && (unconfirmed || reading.position.token !== known.position?.token)) {
      unconfirmed = false
      const emptied = reading.position.epoch === null && this.epoch !== null
      if (emptied) this.#fail(new errors.STORE_EMPTIED(this.revision))
      if (reading.lost && !triedToRestore && this.epoch !== null && this.#losses.mayRestore(this.#syncedAt)) {
        triedToRestore = true
        if (await this.#restore(known, emptied) || emptied) {
          reading = await this.#ask(known.position)
          continue
        }
      }
      // An empty store may be one that lost everything: what is served stays until someone restores it or starts anew.
      if (emptied) throw new errors.STORE_EMPTIED(this.revision)
      replaced ||= reading.lost
      if (known.position !== undefined) this.#losses.suspected = true
      known = await loaded(known, reading, touched)
      // It may hold changes later than its position, so what follows that is read before any of it is served.
      reading = await this.#ask(known.position)
    }
    if (reading.kind === 'changes') known = await followed(known, reading, touched)
    if (this.#closed) return
    this.#serve(known, touched, replaced)
    if (!this.#losses.suspected) return
    const say = (problem: FlagsError) => { if (!this.#closed) this.say('problem', problem) }
    await this.#losses.reckon(this.snapshot, this.epoch, say).catch(() => {}) // with the next read again, or it is at least said
  }

  /** Resolves to whether this process put back what it holds. */
  async #restore (known: Known, emptied: boolean): Promise<boolean> {
    try {
      const restored = await this.#losses.restore(known, emptied)
      if (restored !== null && !this.#closed) this.say('problem', restored)
      return restored !== null
    } catch (error) {
      if (!this.#closed) this.report(typed(error))
      return false
    }
  }

  async #ask (position: Position | undefined): Promise<Reading> {
    const asked = performance.now()
    const reading = await this.store.read(position)
    if (this.#closed) throw new errors.STORE_CLOSED()
    this.#clock = reading.time - (asked + performance.now()) / 2
    return reading
  }

  /** Everything is in place before a listener hears of it. */
  #serve (known: Known, touched: Touched, replaced: boolean): void {
    const before = this.#known
    const wasReady = this.#status === 'READY'
    this.#known = known
    stamp(known)
    this.#failure = null
    this.#status = 'READY'
    this.#syncedAt = { wall: Date.now(), monotonic: performance.now() }
    this.#silence?.refresh()

    const { revision } = this
    if (replaced && this.epoch?.startsWith(resetEpoch) && this.epoch !== before.position?.epoch) {
      this.#losses.forget()
      this.say('problem', new errors.STORE_RESET(before.position?.revision))
    } else if (replaced) {
      this.say('problem', new errors.STORE_REPLACED(before.position?.revision, revision))
    }
    for (const [name, { version, error }] of known.damage) {
      if (before.damage.get(name)?.version !== version) this.say('problem', error)
    }
    if (touched.flag.size + touched.segment.size > 0) this.say('change', { revision, flags: [...touched.flag], segments: [...touched.segment] })
    if (!wasReady) this.say('ready')
    this.#stages.look()
  }

  #fail (problem: FlagsError): void {
    const known = this.#failure?.code === problem.code
    this.#failure = problem
    if (!known) this.say('problem', problem)
    if (problem.code === 'FST_FLAGS_STORE_EMPTIED') this.#growStale()
  }

  /** A timer of its own, so that STALE comes though no read ever answers. */
  #fallSilent (): void {
    if (this.#failure === null) this.#fail(new errors.STORE_UNAVAILABLE(`it has not answered for ${this.#staleAfter} ms`))
    this.#growStale()
  }

  #growStale (): void {
    if (this.#status !== 'READY') return
    this.#status = 'STALE'
    this.say('stale')
  }
}

function typed (error: unknown): FlagsError {
  return isFlagsError(error) ? error : new errors.STORE_UNAVAILABLE(textOf(error), { cause: error })
}
