import { errors, textOf, type FlagsError } from '../errors.js'
import type { Arm } from '../evaluation/arm.js'
import { knownFor, type Ledger } from '../experiments/ledger.js'
import { Rounds } from '../experiments/rounds.js'
import { cohortOf, type Alarm, type GuardedRollout } from '../model/guard.js'
import type { Seen } from './numbers.js'
import { goalSeen, standingOf, type Standing } from './verdict.js'
import { Watched } from './watched.js'

/** What a guard does to its rollout. Each resolves to whether this call did it, false where another did before or it was not to be done any more; rejects to be tried again. */
export interface GuardActs {
  /** Rolls back or pauses, as the guard says, a rollout that is still at this stage. */
  stop (rollout: GuardedRollout, stage: number, alarm: Alarm): Promise<boolean>
  /** Notes that as much was seen of the stage as the guard wants, so that the clock may leave it. */
  enough (rollout: GuardedRollout, stage: number): Promise<boolean>
}

export interface GuardWatchOptions {
  ledger: Ledger
  /** Epoch milliseconds by the store's clock. */
  now: () => number
  act: GuardActs
  report: (problem: FlagsError) => void
  /** How many reported outcomes may wait; about 150 bytes each, 100,000 unless given. */
  most?: number
}

/** Rollouts that a process watches at once; requests of further ones are not counted, which is told. */
const mostRollouts = 500
/** Milliseconds between looks. */
const lookEvery = 1000
/** Milliseconds between looks at goals, which come later than requests. */
const goalsEvery = 10_000
/** Milliseconds after which a rollout without requests is no longer watched. */
const idleAfter = 60_000

/**
 * Counts how requests under guarded rollouts end, pools that with what other processes count, and acts when those who are in
 * fare worse. Nothing here waits for the ledger but `standing`, `flush` and `close`: counts add up in memory, whose size does
 * not grow with their number, and once a second what is new goes to the ledger and is looked at together with all there is.
 */
export class GuardWatch {
  readonly #ledger: Ledger
  readonly #now: () => number
  readonly #act: GuardActs
  readonly #report: (problem: FlagsError) => void
  readonly #most: number
  readonly #watched = new Map<string, Watched>()
  readonly #rounds = new Rounds({ every: lookEvery, send: (all) => this.#look(all), goesOn: () => this.#watched.size + this.#ended.length > 0 })
  /** Arms that requests have ended for since the last look. */
  #ended: Arm[] = []
  #waiting = 0
  #dropped = 0
  #failed = false
  #failing = false
  #full = false

  constructor ({ ledger, now, act, report, most = 100_000 }: GuardWatchOptions) {
    this.#ledger = ledger
    this.#now = now
    this.#act = act
    this.#report = report
    this.#most = most
  }

  /** A request that was given these arms has ended. Hot. */
  count (arms: readonly Arm[], failed: boolean, milliseconds: number): void {
    if (this.#rounds.closed) return
    for (let i = 0; i < arms.length; i++) {
      const arm = arms[i]!
      if (arm.requests++ === 0) this.#note(arm)
      if (failed) arm.failed++
      if (milliseconds > arm.overMs) arm.slow++
    }
  }

  /**
   * An outcome that another stack reports; it counts once though it comes again under its id within an hour of its `time` (epoch
   * milliseconds by the store's clock). False when there was no room for it. Throws EVENT_REFUSED when it comes too late.
   */
  reported (arm: Arm, failed: boolean, milliseconds: number | undefined, id: string, time: number): boolean {
    if (time < this.#now() - knownFor) throw new errors.EVENT_REFUSED('time must be within the last hour: how a request ended counts for its rollout while that is under way')
    const watched = this.hasRoomFor(1) ? this.#watch(arm.rollout) : undefined
    if (watched === undefined) {
      if (this.#dropped++ === 0) this.#report(new errors.OUTCOMES_LOST(1, 'too many wait, and further ones are lost until there is room; only this first one is told'))
      return false
    }
    this.#waiting++
    watched.report({ arm, failed, milliseconds, id })
    return true
  }

  /** How many reported outcomes wait to be counted. */
  get waiting (): number {
    return this.#waiting
  }

  /** How many reported outcomes found no room. */
  get dropped (): number {
    return this.#dropped
  }

  /** Whether so many reported outcomes more would be kept. */
  hasRoomFor (outcomes: number): boolean {
    return !this.#rounds.closed && this.#waiting + outcomes <= this.#most
  }

  /** What is known of a rollout at a stage, with what this process has seen until now. Rejects when the ledger does. */
  async standing (rollout: GuardedRollout, stage: number): Promise<Standing> {
    await this.flush()
    const goal = rollout.guard.goal === undefined ? undefined : await this.#goalSeen(rollout, stage)
    return standingOf(rollout, stage, await this.#ledger.sums(rollout.id), goal)
  }

  /** Looks now: sends what is new, and acts on what all processes have seen; `all`, with what would better wait for more. Never rejects. */
  async flush (all = false): Promise<void> {
    await this.#rounds.flush(all)
  }

  /** Sends what there is, and acts no more. To be called before the ledger is closed, which is not done here. */
  async close (): Promise<void> {
    await this.#rounds.close(() => Array.from(this.#watched.values()).every(({ isSent }) => isSent))
    let lost = 0
    for (const { waiting } of this.#watched.values()) lost += waiting
    if (lost > 0) this.#report(new errors.OUTCOMES_LOST(lost, 'this process ended before they could be'))
  }

  #note (arm: Arm): void {
    this.#ended.push(arm)
    this.#rounds.wake()
  }

  #watch (rollout: GuardedRollout): Watched | undefined {
    let watched = this.#watched.get(rollout.id)
    if (watched === undefined) {
      if (this.#watched.size >= mostRollouts) {
        if (!this.#full) this.#report(new errors.OUTCOMES_LOST(1, `this process watches ${mostRollouts} guarded rollouts already, and those of further ones are lost while it does; only this first one is told`))
        this.#full = true
        return undefined
      }
      this.#watched.set(rollout.id, watched = new Watched(rollout))
      this.#rounds.wake()
    } else if (watched.rollout !== rollout) {
      watched.rollout = rollout
    }
    return watched
  }

  async #look (all: boolean): Promise<void> {
    const ended = this.#ended
    this.#ended = []
    for (const arm of ended) {
      const { requests, failed, slow } = arm.take()
      this.#watch(arm.rollout)?.count(arm, { requests, failed, timed: requests, slow })
    }
    this.#failed = false
    await Promise.all(Array.from(this.#watched.values(), (watched) => this.#lookAt(watched, all)))
    this.#failing = this.#failed
  }

  async #lookAt (watched: Watched, all: boolean): Promise<void> {
    try {
      await this.#send(watched, all)
      if (!this.#rounds.closed) await this.#judge(watched, all)
    } catch (error) {
      if (!this.#failing && !this.#failed) this.#report(new errors.GUARD_WAITING(textOf(error), { cause: error }))
      this.#failed = true
      const { requests, reported } = watched.giveUp()
      this.#waiting -= reported
      if (requests + reported > 0) this.#report(new errors.OUTCOMES_LOST(requests + reported, 'they were sent, and for nearly an hour nothing said whether they had arrived'))
      return
    }
    if (watched.isSent && !watched.hasPieces && performance.now() - watched.seen > idleAfter) this.#watched.delete(watched.rollout.id)
  }

  async #send (watched: Watched, all: boolean): Promise<void> {
    for (let claim = watched.nextClaim(this.#now()); claim !== undefined; claim = watched.nextClaim(this.#now())) {
      this.#waiting -= watched.claimed(await this.#ledger.claim(claim))
    }
    for (let addition = watched.nextAddition(this.#now(), all); addition !== undefined; addition = watched.nextAddition(this.#now(), all)) {
      watched.added(await this.#ledger.add(addition))
    }
  }

  async #judge (watched: Watched, all: boolean): Promise<void> {
    const { rollout, sums, goals } = watched
    if (rollout.guard.goal !== undefined && (all || performance.now() - watched.goalsRead > goalsEvery)) {
      for (const stage of watched.stages) goals.set(stage, await this.#goalSeen(rollout, stage))
      watched.goalsRead = performance.now()
    }
    const latest = Math.max(...watched.stages)
    for (const stage of watched.stages) {
      const { enough, metrics, alarmAt } = standingOf(rollout, stage, sums, goals.get(stage))
      for (const metric of ['errors', 'latency', 'goal'] as const) {
        const seen = metrics[metric]
        if (seen === undefined || seen.chance > alarmAt) continue
        const at = new Date(this.#now()).toISOString()
        await once(watched, `stop ${latest}`, () => this.#act.stop(rollout, latest, { metric, stage: latest, at, ...seen }))
        return
      }
      if (enough && isLeftByClock(rollout, stage)) await once(watched, `enough ${stage}`, () => this.#act.enough(rollout, stage))
    }
  }

  async #goalSeen (rollout: GuardedRollout, stage: number): Promise<Seen> {
    return goalSeen(rollout.guard.goal!.name, rollout.stages.length, await this.#ledger.read(cohortOf(rollout, stage)))
  }
}

async function once (watched: Watched, what: string, act: () => Promise<boolean>): Promise<void> {
  if (watched.done.has(what)) return
  await act()
  watched.done.add(what)
}

function isLeftByClock ({ stages }: GuardedRollout, stage: number): boolean {
  return stage + 1 < stages.length && (stages[stage]!.hours !== undefined || stages[stage + 1]!.at !== undefined)
}
