import type { Sums } from '../experiments/ledger.js'
import type { Alarm, Guard } from '../model/guard.js'
import { chanceOf, evidenceOf, noEvidence, type Side } from './evidence.js'

/** How requests have ended. */
export interface Ends {
  requests: number
  /** Answers with a status of 500 or more. */
  failed: number
  /** Requests of which it is known how long they took. */
  timed: number
  /** Of these, those that took too long. */
  slow: number
}

/** Requests of one side. */
class Counted implements Ends {
  requests = 0
  failed = 0
  timed = 0
  slow = 0

  add ({ requests, failed, timed, slow }: Ends): void {
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

/** Milliseconds of the stretches that evidence is cut into, and new stages cut it, too. */
const stretchOf = 6 * 3_600_000

/*
 * What is added up of a rollout, by name: at:<stage>:<side> requests at a stage; <side>:requests, :failed, :timed and :slow of
 * all stages; and <metric>:<stage>:<stretch>:<i> the evidence. Noughts are left out.
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

/** What a piece of traffic says of everything that the guard watches. `time`: about when it was, epoch milliseconds. */
export function evidenceNumbers (stage: number, time: number, guard: Guard, both: Both): Sums {
  const stretch = Math.floor(time / stretchOf)
  const numbers: Record<string, number> = {}
  for (const metric of watchedOf(guard)) {
    const { of, count } = looksAt[metric]
    const side = (counted: Counted): Side => ({ requests: counted[of], bad: counted[count] })
    for (const [i, number] of evidenceOf(side(both.control), side(both.treated), guard[metric]!.atMost).entries()) numbers[`${metric}:${stage}:${stretch}:${i}`] = number
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

export function seenOf (metric: RequestMetric, sums: Sums): Seen {
  const { of, count } = looksAt[metric]
  const side = (name: typeof sides[number]) => ({ count: sums[`${name}:${count}`] ?? 0, of: sums[`${name}:${of}`] ?? 0 })
  return { control: side('control'), treated: side('treated'), chance: chanceOf(...stretchesOf(metric, sums)) }
}

/** The evidence by stretches, in their order. */
function stretchesOf (metric: RequestMetric, sums: Sums): number[][] {
  const stretches = new Map<string, { stage: number, stretch: number, evidence: number[] }>()
  for (const [name, number] of Object.entries(sums)) {
    const [kind, stage, stretch, i] = name.split(':')
    if (kind !== metric) continue
    const key = `${stage}:${stretch}`
    let known = stretches.get(key)
    if (known === undefined) stretches.set(key, known = { stage: Number(stage), stretch: Number(stretch), evidence: [...noEvidence] })
    known.evidence[Number(i)] = number
  }
  return Array.from(stretches.values()).sort((a, b) => a.stage - b.stage || a.stretch - b.stretch).map(({ evidence }) => evidence)
}

function withoutNoughts (numbers: Sums): Sums {
  return Object.fromEntries(Object.entries(numbers).filter(([, number]) => number !== 0))
}
