import type { RolloutState, Stage } from '../model/serve.js'

const hour = 3_600_000

/**
 * The stage a rollout stands at, 0-based; -1 before the first begins, which only an `at` of its own can delay.
 * A pure function of time: `now` is epoch milliseconds of the store's clock.
 */
export function stageAt (stages: readonly Stage[], state: RolloutState | undefined, now: number): number {
  return stageOf(beginningsOf(stages, state), now)
}

/** The last stage that has begun. */
export function stageOf (beginnings: readonly number[], now: number): number {
  let stage = beginnings.length - 1
  while (stage >= 0 && !(beginnings[stage]! <= now)) stage--
  return stage
}

/**
 * When each stage begins by itself, epoch milliseconds that never fall: -Infinity for those reached, Infinity for those that wait
 * for a person. A stage lasts its `hours` or until the next one's `at`, whichever comes first; while the rollout's clock stands, neither passes.
 */
export function beginningsOf (stages: readonly Stage[], state: RolloutState | undefined): number[] {
  const beginnings = running(stages, state)
  const stopped = state?.pausedAt ?? state?.disabledAt
  if (stopped === undefined) return beginnings
  const stands = Date.parse(stopped)
  return beginnings.map((time) => time <= stands ? -Infinity : Infinity)
}

function running (stages: readonly Stage[], state: RolloutState | undefined): number[] {
  const beginnings = stages.map(() => -Infinity)
  const current = Math.min(state?.stage ?? 0, stages.length - 1)
  const since = state === undefined ? -Infinity : Date.parse(state.since)
  const scheduled = momentOf(stages[0]!.at)
  // The first stage begins at its `at`, unless a person began it before.
  if (current === 0 && scheduled !== undefined && scheduled >= since) beginnings[0] = scheduled
  let begun = Math.max(beginnings[current]!, since)
  for (let next = current + 1; next < stages.length; next++) {
    const { hours } = stages[next - 1]!
    const lasts = state === undefined || hours === undefined ? Infinity : hours * hour
    begun = Math.max(begun, Math.min(begun + lasts, momentOf(stages[next]!.at) ?? Infinity))
    beginnings[next] = begun
  }
  return beginnings
}

function momentOf (at: string | undefined): number | undefined {
  return at === undefined ? undefined : Date.parse(at)
}
