import type { Counts } from '../experiments/counts.js'
import type { Sums } from '../experiments/ledger.js'
import { compareRates } from '../experiments/statistics.js'
import { defaultMinimum, type Guard, type GuardedRollout, type Metric } from '../model/guard.js'
import { requestsAt, seenOf, watchedOf, type Seen } from './numbers.js'

/** What a guard has seen, all processes together. */
export interface Standing {
  /** Requests at the stage. */
  requests: { control: number, treated: number }
  /** Whether these are as many as the guard wants to see before the clock may leave the stage. */
  enough: boolean
  /**
   * Of whatever the guard watches. errors and latency: requests since the guard began to count, at all stages together, and those
   * that were bad; goal: units first seen at the stage, and those that reached it. An alarm is raised at a `chance` of `alarmAt`.
   */
  metrics: Partial<Record<Metric, Seen>>
  alarmAt: number
}

const alpha = 0.005
/** Where fewer would reach a goal if both sides did alike, a difference of rates is not as normally distributed as the comparison has it. */
const fewestConversions = 20

/** Below which chance an alarm is raised: a guard errs in at most 0.5 % of rollouts, whatever it watches. */
export function alarmAt (guard: Guard): number {
  return alpha / (watchedOf(guard).length + (guard.goal === undefined ? 0 : 1))
}

/** `goal`: what is known of the guard's goal at this stage. */
export function standingOf ({ guard }: GuardedRollout, stage: number, sums: Sums, goal: Seen | undefined): Standing {
  const metrics: Standing['metrics'] = {}
  for (const metric of watchedOf(guard)) metrics[metric] = seenOf(metric, sums)
  if (goal !== undefined) metrics.goal = goal
  const requests = requestsAt(stage, sums)
  return { requests, enough: requests.treated >= (guard.minimum ?? defaultMinimum), metrics, alarmAt: alarmAt(guard) }
}

/** What a stage's cohort shows of a goal. Each stage is a test of its own, and they share the chance to err. */
export function goalSeen (goal: string, stages: number, { variants }: Counts): Seen {
  const rate = (variant: string) => ({ units: variants[variant]!.units, conversions: variants[variant]!.goals[goal]?.conversions ?? 0 })
  const [control, treated] = [rate('control'), rate('treated')]
  const { difference, alwaysValid } = compareRates(control, treated)
  const pooled = (control.conversions + treated.conversions) / (control.units + treated.units)
  const told = difference !== null && difference < 0 && Math.min(control.units, treated.units) * pooled >= fewestConversions
  return {
    control: { count: control.conversions, of: control.units },
    treated: { count: treated.conversions, of: treated.units },
    chance: told ? Math.min(1, (alwaysValid ?? 1) * stages) : 1
  }
}
