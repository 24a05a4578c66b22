import { errors, textOf, type FlagsError } from '../errors.js'
import { mostEnvironments } from '../evaluation/environments.js'
import type { Subject } from '../evaluation/subject.js'
import type { Trial } from '../evaluation/trial.js'
import type { Experiment } from '../model/experiment.js'
import type { Counts } from './counts.js'
import { longestGoal, mostValue, type Exposure, type Ledger, type Range } from './ledger.js'
import { Queue } from './queue.js'
import { Rounds } from './rounds.js'
import { runningIn, watchingIn } from './running.js'
import { SeenUnits } from './seen-units.js'

export interface RecorderOptions {
  ledger: Ledger
  /** The environment of this process, which is always counted. */
  environment: string
  /** Epoch milliseconds by the store's clock. */
  now: () => number
  /** Told once for each time that the ledger begins to fail, and once that events are lost. */
  report: (problem: FlagsError) => void
  /** How many events may wait; further ones are dropped. About 150 bytes each; 200,000 unless given. */
  most?: number
}

/** Milliseconds between sendings. */
const sendEvery = 250

/**
 * What a process sees of experiments, on its way to the ledger. Nothing here waits for that: events are buffered, sent in
 * batches by the way, kept and sent again when they could not be recorded, and dropped, counted, when too many wait.
 */
export class Recorder {
  readonly #ledger: Ledger
  readonly #now: () => number
  readonly #report: (problem: FlagsError) => void
  readonly #most: number
  readonly #environments: Set<string>
  readonly #queues = new Map<string, Queue>()
  readonly #rounds = new Rounds({ every: sendEvery, send: (all) => this.#send(all), goesOn: () => this.#queues.size + this.#read.length > 0 })
  readonly #seen = new SeenUnits()
  #read: Trial[] = []
  #waiting = 0
  #dropped = 0
  #failing = false

  constructor ({ ledger, environment, now, report, most = 200_000 }: RecorderOptions) {
    this.#ledger = ledger
    this.#now = now
    this.#report = report
    this.#most = most
    this.#environments = new Set([environment])
  }

  /** How many events wait to be recorded. */
  get waiting (): number {
    return this.#waiting
  }

  /** How many events this process has lost. */
  get dropped (): number {
    return this.#dropped
  }

  /** Whether so many events more would be kept. */
  hasRoomFor (events: number): boolean {
    return !this.#rounds.closed && this.#waiting + events <= this.#most
  }

  /** Whether an environment is counted. Callers may name any they like: no more than 32 get counts of their own, this process's among them. */
  counts (environment: string): boolean {
    if (this.#environments.has(environment)) return true
    if (this.#environments.size >= mostEnvironments) return false
    this.#environments.add(environment)
    return true
  }

  /** A value on trial was read. Hot: a unit that was seen not long ago is not told of again. */
  expose (trial: Trial, subject: Subject): void {
    const unit = trial.unitOf(subject.context)
    if (unit === '' || this.#rounds.closed) return
    if (trial.reads === 0 && !this.counts(subject.environment)) return
    if (trial.reads++ === 0) this.#note(trial)
    if (!this.#seen.has(unit, trial) && this.exposed(trial.experiment, { unit, variant: trial.variant, time: subject.now })) this.#seen.add(unit, trial)
  }

  /** An exposure that somebody reports. False when it was dropped. */
  exposed (experiment: Experiment, exposure: Exposure): boolean {
    if (!this.#admit()) return false
    this.#queueOf(experiment).exposures.push(exposure)
    return true
  }

  /**
   * Whoever asks reached a goal: that is told to all experiments of the environment that they may be a unit of, and all rollouts
   * whose guards watch it, `among` those asked for, and how many these were is returned. Throws EVENT_REFUSED for a goal or value that cannot be counted.
   */
  track (subject: Subject, goal: unknown, value: unknown = 0, { time = subject.now, among = () => true }: { time?: number, among?: (flag: string) => boolean } = {}): number {
    checkGoal(goal)
    checkValue(value)
    const { snapshot, environment } = subject
    const running = runningIn(snapshot, environment)
    const watching = watchingIn(snapshot, environment)
    let told = 0
    if (running.size + watching.length === 0 || !this.counts(environment)) return told
    const { context } = subject
    const arrived = performance.now()
    const tell = (flag: string, unitOf: Trial['unitOf'], experiment: Experiment) => {
      const unit = among(flag) ? unitOf(context) : ''
      if (unit === '') return
      told++
      if (this.#admit()) this.#queueOf(experiment).conversions.push({ unit, goal, value, time, arrived })
    }
    for (const [flag, { experiment, unitOf }] of running) tell(flag, unitOf, experiment)
    for (const { flag, goal: watched, unitOf, cohortAt } of watching) {
      const cohort = watched === goal ? cohortAt(subject.now) : undefined
      if (cohort !== undefined) tell(flag, unitOf, cohort)
    }
    return told
  }

  /** What the ledger has, together with what of this process is due. */
  async read (experiment: Experiment, range?: Range): Promise<Counts> {
    await this.flush()
    return await this.#ledger.read(experiment, range)
  }

  /** Sends what is due; `all`, also what would better wait. Never rejects. */
  async flush (all = false): Promise<void> {
    await this.#rounds.flush(all)
  }

  /** Sends what there is. To be called before the ledger is closed, which is not done here. */
  async close (): Promise<void> {
    await this.#rounds.close(() => this.#queues.size === 0)
    if (this.#waiting > 0) this.#report(new errors.EVENTS_LOST(this.#waiting, 'this process ended before they could be recorded'))
  }

  #note (trial: Trial): void {
    this.#read.push(trial)
    this.#rounds.wake()
  }

  #queueOf (experiment: Experiment): Queue {
    let queue = this.#queues.get(experiment.id)
    if (queue === undefined) this.#queues.set(experiment.id, queue = new Queue(experiment))
    else queue.experiment = experiment // its shares may be others now
    return queue
  }

  #admit (): boolean {
    if (this.#rounds.closed) return false
    if (this.#waiting >= this.#most) {
      if (this.#dropped++ === 0) this.#report(new errors.EVENTS_LOST(1, 'too many wait to be recorded, and further ones are lost until there is room; only this first one is told'))
      return false
    }
    this.#waiting++
    this.#rounds.wake()
    return true
  }

  async #send (all: boolean): Promise<void> {
    const read = this.#read
    this.#read = []
    for (const trial of read) {
      const { reads } = this.#queueOf(trial.experiment)
      reads[trial.variant] = (reads[trial.variant] ?? 0) + trial.reads
      trial.reads = 0
    }
    const settled = all ? Infinity : performance.now() - this.#ledger.settlesAfter
    await Promise.all(Array.from(this.#queues.values(), (queue) => this.#empty(queue, settled)))
    this.#failing = Array.from(this.#queues.values()).some(({ sent }) => sent !== undefined)
  }

  async #empty (queue: Queue, settled: number): Promise<void> {
    for (let batch = queue.next(settled, this.#now()); batch !== undefined; batch = queue.next(settled, this.#now())) {
      try {
        await this.#ledger.record(batch)
      } catch (error) {
        if (!this.#failing) this.#report(new errors.EVENTS_WAITING(this.#most, textOf(error), { cause: error }))
        this.#failing = true
        return
      }
      this.#waiting -= batch.exposures.length + batch.conversions.length
      queue.sent = undefined
    }
    if (queue.isEmpty) this.#queues.delete(queue.experiment.id)
  }
}

function checkGoal (goal: unknown): asserts goal is string {
  if (typeof goal !== 'string' || goal === '' || goal.length > longestGoal) throw new errors.EVENT_REFUSED(`a goal is a text of 1 to ${longestGoal} characters, such as "purchase"`)
}

function checkValue (value: unknown): asserts value is number {
  if (typeof value !== 'number' || !(value >= 0 && value <= mostValue)) throw new errors.EVENT_REFUSED('the value of a conversion is a number from 0 to 1,000,000,000,000, without quotes; leave it out where there is none')
}
