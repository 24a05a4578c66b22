import type { RolloutState, Staged } from '../model/serve.js'
import { begin, caughtUp, goOn, timeText } from '../model/stages.js'

/** What a person does to a rollout, beside what its clock does. */
export const moves = ['advance', 'rollback', 'pause', 'resume'] as const
export type Move = typeof moves[number]

/** At another stage from now on. A clock that stands goes on standing, at this moment; a guard goes on counting. */
export function movedTo (stage: number, { state }: Staged, now: number): RolloutState {
  const since = timeText(now)
  const { pausedAt, disabledAt, guardedSince } = state ?? {}
  return { stage, since, ...pausedAt !== undefined && { pausedAt: since }, ...disabledAt !== undefined && { disabledAt: since }, ...guardedSince !== undefined && { guardedSince } }
}

/** At an earlier stage from now on, until somebody resumes. What is seen of it then is not what was seen before. */
export function rolledBackTo (stage: number, draw: Staged, now: number): RolloutState {
  const { guard, state: { alarm } = {} } = draw
  const since = timeText(now)
  return { ...movedTo(stage, draw, now), pausedAt: since, ...guard !== undefined && { guardedSince: since }, ...alarm !== undefined && { alarm } }
}

/** The clock stands until somebody resumes; where it stands already, at that moment. */
export function paused (draw: Staged, now: number): RolloutState {
  const { pausedAt, ...before } = draw.state ?? begin(draw, now)
  if (draw.state !== undefined && pausedAt !== undefined) return draw.state
  if (before.disabledAt !== undefined) return { ...before, pausedAt: before.disabledAt }
  return { ...caughtUp(draw, before, now), pausedAt: timeText(now) }
}

/** The clock goes on where it stood, unless the rollout is disabled too: then when that ends. */
export function resumed (draw: Staged, now: number): RolloutState {
  const { pausedAt, ...rest } = draw.state ?? begin(draw, now)
  if (pausedAt === undefined) return rest
  if (rest.disabledAt === undefined) return goOn({ ...draw, state: { ...rest, disabledAt: pausedAt } }, now)
  const { alarm, ...state } = rest
  return state
}
