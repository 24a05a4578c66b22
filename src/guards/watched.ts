import { randomUUID } from 'node:crypto'
import { knownFor, type Addition, type Claim, type Sums } from '../experiments/ledger.js'
import type { Arm } from '../evaluation/arm.js'
import type { GuardedRollout } from '../model/guard.js'
import { Both, evidenceNumbers, numbersOf, type Ends, type Seen } from './numbers.js'

/** Requests of a piece of traffic that is compared in itself. */
const pieceOf = 50
/** What it has after so many milliseconds is enough, too: of few requests, all on one side, nothing could be told. */
const smallPiece = { requests: 10, after: 10_000 }
/** Milliseconds after which a piece ends whatever it has. */
const longestPiece = 300_000
/** Outcomes of one claim. */
const atOnce = 500
/** Milliseconds after which what was sent and never answered is given up: sent again, it might count twice. */
const givenUpAfter = knownFor - 600_000

/** An outcome that somebody reports, under an id of theirs. */
export interface Reported { arm: Arm, failed: boolean, milliseconds: number | undefined, id: string }

class Stage {
  /** Since the last look. */
  fresh = new Both()
  /** Seen, and not yet compared. */
  piece = new Both()
  since = 0
}

/** What this process has seen of one rollout, and what of that is on its way. Times are `performance.now()`. */
export class Watched {
  readonly #stages = new Map<number, Stage>()
  #numbers: Record<string, number> = {}
  #sent: { addition: Addition, since: number } | undefined
  #reported: Reported[] = []
  #claimed: { claim: Claim, outcomes: Reported[], since: number } | undefined
  /** When something was counted last. */
  seen = performance.now()
  /** The last that is known of all processes together. */
  sums: Sums = {}
  /** Of each stage, what is known of the guard's goal. */
  readonly goals = new Map<number, Seen>()
  goalsRead = -Infinity
  /** What was done about it since its flag was last written. */
  readonly done = new Set<string>()
  #rollout: GuardedRollout

  constructor (rollout: GuardedRollout) {
    this.#rollout = rollout
  }

  get rollout (): GuardedRollout {
    return this.#rollout
  }

  /** The same run, of another version of its flag: where a store came back with older data, what was done is to be done again. */
  set rollout (rollout: GuardedRollout) {
    this.#rollout = rollout
    this.done.clear()
  }

  get stages (): Iterable<number> {
    return this.#stages.keys()
  }

  /** Counts requests that have ended for an arm. */
  count ({ stage: number, treated }: Arm, ends: Ends): void {
    let stage = this.#stages.get(number)
    if (stage === undefined) this.#stages.set(number, stage = new Stage())
    const { fresh } = stage
    ;(treated ? fresh.treated : fresh.control).add(ends)
  }

  report (outcome: Reported): void {
    this.#reported.push(outcome)
  }

  /** What is to be asked of the ledger before it can be counted. */
  nextClaim (time: number): Claim | undefined {
    if (this.#claimed === undefined && this.#reported.length > 0) {
      const outcomes = this.#reported.splice(0, atOnce)
      const ids = [...new Set(outcomes.map(({ id }) => id))]
      this.#claimed = { claim: { id: randomUUID(), of: this.rollout.id, ids, time }, outcomes, since: performance.now() }
    }
    return this.#claimed?.claim
  }

  /** Counts those that the claim got, each once. Returns how many outcomes it was about. */
  claimed (ids: Set<string>): number {
    const { outcomes } = this.#claimed!
    this.#claimed = undefined
    for (const reported of outcomes) if (ids.delete(reported.id)) this.count(reported.arm, endOf(reported))
    return outcomes.length
  }

  /** What is to be added; `all`, with pieces that might still grow. */
  nextAddition (time: number, all: boolean): Addition | undefined {
    this.#gather(time, all)
    if (this.#sent === undefined && Object.keys(this.#numbers).length > 0) {
      this.#sent = { addition: { id: randomUUID(), of: this.rollout.id, numbers: this.#numbers, time }, since: performance.now() }
      this.#numbers = {}
    }
    return this.#sent?.addition
  }

  added (sums: Sums): void {
    this.#sent = undefined
    this.sums = sums
  }

  /** Gives up what was sent too long ago, and returns how many requests and reported outcomes that were. */
  giveUp (): { requests: number, reported: number } {
    const before = performance.now() - givenUpAfter
    const given = { requests: 0, reported: 0 }
    if (this.#sent !== undefined && this.#sent.since < before) {
      given.requests = requestsIn(this.#sent.addition.numbers)
      this.#sent = undefined
    }
    if (this.#claimed !== undefined && this.#claimed.since < before) {
      given.reported = this.#claimed.outcomes.length
      this.#claimed = undefined
    }
    return given
  }

  /** Whether all that is to be sent has arrived. */
  get isSent (): boolean {
    return this.waiting === 0 && this.#sent === undefined && Object.keys(this.#numbers).length === 0
  }

  /** How many requests are not known to be added. */
  get waiting (): number {
    let requests = requestsIn(this.#numbers) + (this.#claimed?.outcomes.length ?? 0) + this.#reported.length
    if (this.#sent !== undefined) requests += requestsIn(this.#sent.addition.numbers)
    for (const { fresh } of this.#stages.values()) requests += fresh.requests
    return requests
  }

  /** Whether pieces are still being filled. */
  get hasPieces (): boolean {
    return Array.from(this.#stages.values()).some(({ piece }) => piece.requests > 0)
  }

  #gather (time: number, all: boolean): void {
    const now = performance.now()
    for (const [number, stage] of this.#stages) {
      const { fresh, piece } = stage
      if (fresh.requests > 0) {
        this.#note(numbersOf(number, fresh))
        if (piece.requests === 0) stage.since = now
        piece.add(fresh)
        stage.fresh = new Both()
        this.seen = now
      }
      if (piece.requests > 0 && (all || isWhole(piece.requests, now - stage.since))) {
        this.#note(evidenceNumbers(number, time, this.rollout.guard, piece))
        stage.piece = new Both()
      }
    }
  }

  #note (numbers: Sums): void {
    for (const [name, number] of Object.entries(numbers)) this.#numbers[name] = (this.#numbers[name] ?? 0) + number
  }
}

/** It must not depend on which of the requests were bad. */
function isWhole (requests: number, age: number): boolean {
  return requests >= pieceOf || (requests >= smallPiece.requests && age >= smallPiece.after) || age >= longestPiece
}

function endOf ({ arm, failed, milliseconds }: Reported): Ends {
  const [timed, slow] = milliseconds === undefined ? [0, 0] : [1, milliseconds > arm.overMs ? 1 : 0]
  return { requests: 1, failed: failed ? 1 : 0, timed, slow }
}

function requestsIn (numbers: Sums): number {
  return (numbers['control:requests'] ?? 0) + (numbers['treated:requests'] ?? 0)
}
