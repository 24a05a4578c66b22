import { isDeepStrictEqual } from 'node:util'
import { isFlagsError } from '../errors.js'
import { stageAt } from '../model/stages.js'
import type { Flag } from '../model/flag.js'
import { environmentOf, rulesMeant } from '../model/meaning.js'
import { isStaged, type Staged } from '../model/serve.js'
import type { Store } from '../store/store.js'
import { historyOf, type FlagVersion } from './history.js'
import type { Move, RolloutPlace } from './rollouts.js'

/** What a person, or its guard, last did to a rollout: the change that began it, moved it, or stopped or started its clock. */
export interface LastMove { action: Move | 'begin' | 'enable' | 'disable', version: number, updatedAt: string, updatedBy?: string }

/** How many versions of a flag are looked through. */
const mostVersions = 1000

/** Undefined where the log no longer tells, or cannot be read now. */
export async function lastMoveOf (store: Store, key: string, place: RolloutPlace): Promise<LastMove | undefined> {
  try {
    for await (const [change, before] of changesOf(store, key)) {
      const action = actionOf(change, before, place)
      if (action !== undefined) {
        const { flag: _, ...kept } = change
        return { action, ...kept }
      }
    }
  } catch (error) {
    if (!isFlagsError(error)) throw error
  }
  return undefined
}

/** A flag's versions, the newest first, each with the one before; undefined for the very first. */
async function * changesOf (store: Store, key: string): AsyncGenerator<[FlagVersion, FlagVersion | undefined]> {
  let later: FlagVersion | undefined
  let before: number | undefined
  for (let seen = 0; seen < mostVersions;) {
    const { history, next, beginsAt } = await historyOf(store, key, { before, limit: 50 })
    for (const version of history) {
      if (later !== undefined) yield [later, version]
      later = version
    }
    if (next === undefined) {
      if (later !== undefined && beginsAt === 1) yield [later, undefined]
      return
    }
    before = next
    seen += history.length
  }
}

function actionOf ({ flag, updatedAt }: FlagVersion, before: FlagVersion | undefined, place: RolloutPlace): LastMove['action'] | undefined {
  const [now, then] = [drawAt(flag, place), drawAt(before?.flag ?? null, place)]
  if (now === undefined) return undefined
  if (then === undefined || !isDeepStrictEqual(now.stages, then.stages)) return 'begin'
  if (isDeepStrictEqual(now.state, then.state)) return undefined
  const [after, earlier] = [now.state, then.state]
  if (after?.disabledAt === undefined && earlier?.disabledAt !== undefined) return 'enable'
  if (after?.disabledAt !== undefined && earlier?.disabledAt === undefined) return 'disable'
  const stage = stageAt(then, Date.parse(updatedAt))
  if (after !== undefined && after.stage < stage) return 'rollback'
  if (after?.pausedAt !== undefined && earlier?.pausedAt === undefined) return 'pause'
  if (after?.pausedAt === undefined && earlier?.pausedAt !== undefined) return 'resume'
  if (after !== undefined && after.stage > stage) return 'advance'
  // Its guard has seen enough of a stage, or is another one: that alone moves nothing.
  if (after?.enoughAt !== earlier?.enoughAt || after?.guardedSince !== earlier?.guardedSince) return undefined
  return 'begin'
}

function drawAt (flag: Flag | null, { environment = '', rule }: RolloutPlace): Staged | undefined {
  const settings = flag === null ? undefined : environmentOf(flag, environment)
  const rules = settings?.rules ?? []
  const serve = rule === undefined ? settings?.serve : rules[rulesMeant(rules, rule)[0] ?? -1]?.serve
  return isStaged(serve) ? serve : undefined
}
