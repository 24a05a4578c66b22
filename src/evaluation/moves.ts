import type { RolloutState, Stage } from '../model/serve.js'
import { begin, caughtUp, goOn, timeText } from '../model/stages.js'

/** What a person does to a rollout, beside what its clock does. */
export const moves = ['advance', 'rollback', 'pause', 'resume'] as const
export type Move = typeof moves[number]

/** At another stage from now on. A clock that stands goes on standing, at this moment. */
export function movedTo (stage: number, state: RolloutState | undefined, now: number): RolloutState {
  const since = timeText(now)
  return { stage, since, ...state?.pausedAt !== undefined && { pausedAt: since }, ...state?.disabledAt !== undefined && { disabledAt: since } }
}

/** At an earlier stage from now on, until somebody resumes. */
export function rolledBackTo (stage: number, state: RolloutState | undefined, now: number): RolloutState {
  return { ...movedTo(stage, state, now), pausedAt: timeText(now) }
}

/** The clock stands until somebody resumes; where it stands already, at that moment. */
export function paused (stages: readonly Stage[], state: RolloutState | undefined, now: number): RolloutState {
  const { pausedAt, ...before } = state ?? begin(stages, now)
  if (state !== undefined && pausedAt !== undefined) return state
  if (before.disabledAt !== undefined) return { ...before, pausedAt: before.disabledAt }
  return { ...caughtUp(stages, before, now), pausedAt: timeText(now) }
}

/** The clock goes on where it stood, unless the rollout is disabled too: then when that ends. */
export function resumed (stages: readonly Stage[], state: RolloutState | undefined, now: number): RolloutState {
  const { pausedAt, ...rest } = state ?? begin(stages, now)
  if (pausedAt === undefined || rest.disabledAt !== undefined) return rest
  return goOn(stages, { ...rest, disabledAt: pausedAt }, now)
}
