import type { FlagEntry } from '../evaluation/snapshot.js'
import { beginningsOf, stageOf } from '../model/stages.js'
import type { Environment, Flag } from '../model/flag.js'
import { layerOf } from '../model/layer.js'
import { drawOf, isSwitchedOn, offVariantOf, variantMeant } from '../model/meaning.js'
import type { Serve } from '../model/serve.js'

/** Why a flag is probably no longer needed, and since when (an ISO string). */
export interface Staleness { reason: 'expired' | 'fully-on' | 'fully-off', since: string }

/**
 * `expired`: past its `expiresAt`. `fully-on`, `fully-off`: in every environment it serves everyone on, or off, and nothing
 * about that has changed for `age` milliseconds. A flag with prerequisites depends on others, and is neither.
 */
export function staleness ({ document, provenance }: Pick<FlagEntry, 'document' | 'provenance'>, now: number, age: number): Staleness | undefined {
  const expiry = document.expiresAt === undefined ? Infinity : Date.parse(document.expiresAt)
  if (expiry <= now) return { reason: 'expired', since: new Date(expiry).toISOString() }
  if (now - provenance.time < age) return undefined
  const same = everywhere(document, now)
  if (same === undefined) return undefined
  const since = Math.max(provenance.time, same.since)
  return now - since < age ? undefined : { reason: same.on ? 'fully-on' : 'fully-off', since: new Date(since).toISOString() }
}

/** What everyone gets, and since when by the clock alone: -Infinity unless a stage brought it. */
interface Same { on: boolean, since: number }

function everywhere (flag: Flag, now: number): Same | undefined {
  if (!isSwitchedOn(flag)) return { on: false, since: -Infinity }
  const parts = flag.environments === undefined ? [flag] : Object.values(flag.environments)
  return agreed(parts.map((settings) => inEnvironment(flag, settings, now))) ?? (parts.length === 0 ? { on: false, since: -Infinity } : undefined)
}

function inEnvironment (flag: Flag, settings: Environment, now: number): Same | undefined {
  if (settings.enabled !== true) return { on: false, since: -Infinity }
  if ((settings.prerequisites?.length ?? 0) > 0) return undefined
  const named = (settings.targets ?? []).filter(({ users, groups, regions }) => [users, groups, regions].some((names) => (names?.length ?? 0) > 0))
  return agreed([
    drawn(flag, settings.serve, now),
    ...layerOf(flag, settings) !== undefined ? [served(flag, drawOf(flag, settings.serve).otherwise ?? offVariantOf(flag))] : [], // what all others of the layer get
    ...named.map(({ variant }) => served(flag, variantMeant(flag, variant))),
    ...(settings.rules ?? []).map(({ serve }) => drawn(flag, serve, now))
  ])
}

function drawn (flag: Flag, serve: Serve | undefined, now: number): Same | undefined {
  const draw = drawOf(flag, serve)
  const { variant, split, percentage, stages, otherwise } = draw
  let share = percentage ?? 100
  let since = -Infinity
  if (stages !== undefined) {
    const beginnings = beginningsOf({ ...draw, stages })
    const stage = stageOf(beginnings, now)
    share = stages[stage]?.percentage ?? 0
    since = beginnings[stage] ?? -Infinity
    if (share < 100 && (stages.slice(0, stage + 1).some(({ groups }) => (groups?.length ?? 0) > 0) || stage < stages.length - 1)) return undefined
  }
  if (share > 0 && share < 100) return undefined
  const out = served(flag, otherwise ?? offVariantOf(flag))
  if (share === 0) return { ...out, since }
  const chosen = split === undefined ? [variant] : Object.entries(split).flatMap(([name, weight]) => weight > 0 ? [name] : [])
  return chosen.length === 1 ? { ...served(flag, chosen[0]), since } : undefined
}

function served (flag: Flag, variant: string | undefined): Same {
  return { on: variant !== offVariantOf(flag), since: -Infinity }
}

/** The parts as one, if all are the same. */
function agreed (parts: Array<Same | undefined>): Same | undefined {
  const [first] = parts
  if (first === undefined) return undefined
  let since = -Infinity
  for (const part of parts) {
    if (part?.on !== first.on) return undefined
    since = Math.max(since, part.since)
  }
  return { on: first.on, since }
}
