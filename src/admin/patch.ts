import type { Environment, Flag } from '../model/flag.js'
import { jsonTypeOf } from '../model/json.js'
import { setEnvironment } from './settings.js'

/** Fields to replace whole, or with null to remove; of `environments` each environment's fields in the same way. */
export type FlagPatch = Partial<{ [Field in Exclude<keyof Flag, 'environments'>]: Flag[Field] | null }> & {
  environments?: Record<string, Partial<{ [Field in keyof Environment]: Environment[Field] | null }> | null> | null
}

/** The flag with the patch applied; whatever in it is no flag is left for the checks to refuse. */
export function patchFlag (flag: Flag, patch: FlagPatch): Flag {
  const patched: Flag = replaceFields(flag, patch)
  if (jsonTypeOf(patch.environments) !== 'object') return patched
  let environments = flag.environments ?? {}
  for (const [name, settings] of Object.entries(patch.environments ?? {})) {
    const existing = Object.hasOwn(environments, name) ? environments[name]! : {}
    const next = jsonTypeOf(settings) === 'object' ? replaceFields(existing, settings!) : settings as Environment | null
    environments = setEnvironment(environments, name, next)
  }
  // Without its last environment a flag keeps having environments: it is off, and not suddenly on everywhere.
  return { ...patched, environments }
}

function replaceFields<T extends object> (target: T, patch: object): T {
  const fields = new Map<string, unknown>(Object.entries(target))
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) fields.delete(name)
    else if (value !== undefined) fields.set(name, value)
  }
  return Object.fromEntries(fields) as T
}
