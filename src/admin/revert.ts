import { isDeepStrictEqual } from 'node:util'
import { errors } from '../errors.js'
import type { Environment, Flag } from '../model/flag.js'
import { environmentOf } from '../model/meaning.js'
import type { Serve } from '../model/serve.js'
import type { Store } from '../store/store.js'

/** A version of a flag, and when the next one took its place: epoch milliseconds, undefined while it stands. */
export interface FormerVersion { flag: Flag, endedAt: number | undefined }

/** Throws VERSION_GONE when the log no longer holds it, VERSION_NOT_FOUND when it is none of this flag's. */
export async function formerVersion (store: Store, key: string, version: number): Promise<FormerVersion> {
  const { changes: [found], beginsAt } = await store.history({ kind: 'flag', key, before: version + 1, limit: 1 })
  if (found?.version !== version) {
    if (version < beginsAt) throw new errors.VERSION_GONE(version, key, beginsAt)
    throw new errors.VERSION_NOT_FOUND(key, version, '; see its history')
  }
  if (found.document === null) throw new errors.VERSION_NOT_FOUND(key, version, ': that is where it was deleted; see its history for the one before')
  const { changes: [next] } = await store.history({ kind: 'flag', key, after: version, limit: 1 })
  return { flag: JSON.parse(found.document), endedAt: next?.time }
}

/**
 * The flag as it stood. A rollout that nobody has moved since goes on as it is; any other stands where it stood when this
 * version ended, and its clock goes on from there: what has passed since passed without it.
 */
export function restored ({ flag, endedAt }: FormerVersion, current: Flag | undefined): Flag {
  if (endedAt === undefined) return flag
  if (flag.environments === undefined) return restoreIn(flag, current && environmentOf(current, ''), endedAt)
  const environments = Object.entries(flag.environments).map(([name, settings]) => [name, restoreIn(settings, current && environmentOf(current, name), endedAt)])
  return { ...flag, environments: Object.fromEntries(environments) }
}

function restoreIn<T extends Environment> (settings: T, current: Environment | undefined, endedAt: number): T {
  const { serve, rules } = settings
  return {
    ...settings,
    ...serve !== undefined && { serve: restore(serve, [current?.serve], endedAt) },
    ...rules !== undefined && { rules: rules.map((rule) => rule.serve === undefined ? rule : { ...rule, serve: restore(rule.serve, (current?.rules ?? []).map(({ serve }) => serve), endedAt) }) }
  }
}

function restore (serve: Serve, current: Array<Serve | undefined>, endedAt: number): Serve {
  if (typeof serve === 'string' || serve.state === undefined) return serve
  const { stages, state } = serve
  if (current.some((other) => typeof other === 'object' && isDeepStrictEqual(other.stages, stages) && isDeepStrictEqual(other.state, state))) return serve
  return { ...serve, state: { ...state, disabledAt: state.disabledAt ?? state.pausedAt ?? new Date(endedAt).toISOString() } }
}
