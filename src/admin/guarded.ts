import { isFlagsError } from '../errors.js'
import type { Flag } from '../model/flag.js'
import { guardedServesOf, type Alarm, type GuardedRollout, type GuardedServe } from '../model/guard.js'
import { disabledBy } from '../model/meaning.js'
import { begin, caughtUp, stageAt, timeText } from '../model/stages.js'
import { moveRollout, withState } from './rollouts.js'
import type { Writer } from './writer.js'

/** What the log names as the author of what guards do. */
const guardActor = 'guard'

/**
 * Rolls a rollout back by one stage (from the first, disables the flag or its environment) or pauses it, as its guard says: one write, with
 * the numbers. Resolves to whether it was done, false where the rollout has moved on, stands, or counts anew by now, so that of many
 * processes one does it. Rejects when the store cannot be written. `now` gives epoch milliseconds by the store's clock.
 */
export async function stopRollout (writer: Writer, rollout: GuardedRollout, stage: number, alarm: Alarm, now: () => number): Promise<boolean> {
  return await changeUnderWay(writer, rollout, stage, now, (flag, draw, time) => {
    const told = withState(rollout.flag, flag, rollout, { ...draw.state ?? begin(draw, time), alarm })
    return moveRollout(rollout.flag, told, rollout.guard.action ?? 'rollback', rollout, time)
  })
}

/** Notes that the guard has seen enough of a stage, so that the clock may leave it. Resolves and rejects as above. */
export async function noteEnough (writer: Writer, rollout: GuardedRollout, stage: number, now: () => number): Promise<boolean> {
  return await changeUnderWay(writer, rollout, stage, now, (flag, draw, time) => {
    const state = caughtUp(draw, draw.state ?? begin(draw, time), time)
    return state.enoughAt === undefined ? withState(rollout.flag, flag, rollout, { ...state, enoughAt: timeText(time) }) : undefined
  })
}

/** Thrown to write nothing. */
const nothingToDo = Symbol('nothing to do')

async function changeUnderWay (writer: Writer, rollout: GuardedRollout, stage: number, now: () => number, change: (flag: Flag, draw: GuardedServe['draw'], time: number) => Flag | undefined): Promise<boolean> {
  try {
    await writer.change('flag', rollout.flag, { by: guardActor }, (flag) => {
      const time = now()
      const draw = drawUnderWay(flag, rollout, stage, time)
      const changed = draw && change(flag, draw, time)
      if (changed === undefined) throw nothingToDo
      return changed
    }, { keeping: 'moved', lenient: true })
    return true
  } catch (error) {
    if (error === nothingToDo || (isFlagsError(error) && error.code === 'FST_FLAGS_FLAG_NOT_FOUND')) return false
    throw error
  }
}

/** What is drawn, if this run of the rollout still stands at this stage and its clock runs. */
function drawUnderWay (flag: Flag, { id, flag: key, environment = '' }: GuardedRollout, stage: number, time: number): GuardedServe['draw'] | undefined {
  const draw = guardedServesOf(key, flag, environment).find(({ rollout }) => rollout.id === id)?.draw
  if (draw === undefined || disabledBy(flag, environment) !== undefined || draw.state?.pausedAt !== undefined) return undefined
  return stageAt(draw, time) === stage ? draw : undefined
}
