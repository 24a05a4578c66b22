import type { Sums } from '../experiments/ledger.js'
import type { Alarm, Guard } from '../model/guard.js'
import { chanceOf, evidenceOf, noEvidence, type Side } from './evidence.js'

/** Requests of one side. */
export class Counted {
  requests = 0
  /** Answers with a status of 500 or more. */
  failed = 0
  /** Requests of which it is known how long they took. */
  timed = 0
  /** Of these, those that took too long. */
  slow = 0

  add ({ requests, failed, timed, slow }: Counted): void {
    this.requests += requests
    this.failed += failed
    this.timed += timed
    this.slow += slow
  }
}

export class Both {
  readonly control = new Counted()
  readonly treated = new Counted()

  get requests (): number {
    return this.control.requests + this.treated.requests
  }

  add ({ control, treated }: Both): void {
    this.control.add(control)
    this.treated.add(treated)
  }
}

/** What of requests a metric looks at. */
const looksAt = { errors: { of: 'requests', count: 'failed' }, latency: { of: 'timed', count: 'slow' } } as const
type RequestMetric = keyof typeof looksAt

const sides = ['control', 'treated'] as const

/*
 * What is added up of a rollout, by name: at:<stage>:<side> requests at a stage; <side>:requests, :failed, :timed and :slow of
 * all stages; and <metric>:<stage>:<i> the evidence. Noughts are left out.
 */

export function numbersOf (stage: number, both: Both): Sums {
  const numbers: Record<string, number> = {}
  for (const side of sides) {
    const counted = both[side]
    numbers[`at:${stage}:${side}`] = counted.requests
    for (const [name, count] of Object.entries(counted)) numbers[`${side}:${name}`] = count
  }
  return withoutNoughts(numbers)
}

/** What a piece of traffic says of everything that the guard watches. */
export function evidenceNumbers (stage: number, guard: Guard, both: Both): Sums {
  const numbers: Record<string, number> = {}
  for (const metric of watchedOf(guard)) {
    const { of, count } = looksAt[metric]
    const side = (counted: Counted): Side => ({ requests: counted[of], bad: counted[count] })
    for (const [i, number] of evidenceOf(side(both.control), side(both.treated), guard[metric]!.atMost).entries()) numbers[`${metric}:${stage}:${i}`] = number
  }
  return withoutNoughts(numbers)
}

export function watchedOf (guard: Guard): RequestMetric[] {
  return (['errors', 'latency'] as const).filter((metric) => guard[metric] !== undefined)
}

/** What a guard has seen of a metric. `chance`: how often chance alone would bring such numbers, however often one looks; 1 where they are no worse. */
export type Seen = Pick<Alarm, 'control' | 'treated' | 'chance'>

export function requestsAt (stage: number, sums: Sums): { control: number, treated: number } {
  return { control: sums[`at:${stage}:control`] ?? 0, treated: sums[`at:${stage}:treated`] ?? 0 }
}

/** Of all stages, of which there are so many. */
export function seenOf (metric: RequestMetric, stages: number, sums: Sums): Seen {
  const { of, count } = looksAt[metric]
  const side = (name: typeof sides[number]) => ({ count: sums[`${name}:${count}`] ?? 0, of: sums[`${name}:${of}`] ?? 0 })
  const evidence = Array.from({ length: stages }, (_, stage) => noEvidence.map((none, i) => sums[`${metric}:${stage}:${i}`] ?? none))
  return { control: side('control'), treated: side('treated'), chance: chanceOf(...evidence) }
}

function withoutNoughts (numbers: Sums): Sums {
  return Object.fromEntries(Object.entries(numbers).filter(([, number]) => number !== 0))
}
