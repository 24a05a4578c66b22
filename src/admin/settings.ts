import { errors } from '../errors.js'
import { decidingFields, type Environment, type Flag, type Target } from '../model/flag.js'
import { isBoolean, variantMeant } from '../model/meaning.js'

/** A new object with the environment set, in its place, or removed. Any name becomes an own property, for the checks to judge. */
export function setEnvironment (environments: Record<string, Environment>, name: string, settings: Environment | null): Record<string, Environment> {
  const entries = new Map(Object.entries(environments))
  if (settings === null) entries.delete(name)
  else entries.set(name, settings)
  return Object.fromEntries(entries)
}

/**
 * The flag switched on or off: as a whole, or in one environment, which is created if the flag has others. A flag without
 * environments is the same in all of them. Where it is asked for what it is everywhere, nothing changes; a plain flag that
 * is off may become on in one, for it stays off in the others; anything else would change the others too, and is refused.
 */
export function switchFlag (key: string, flag: Flag, on: boolean, environment: string | undefined): Flag {
  if (environment === undefined) return { ...flag, enabled: on }
  if (flag.environments !== undefined) {
    const existing = Object.hasOwn(flag.environments, environment) ? flag.environments[environment] : undefined
    return { ...flag, environments: setEnvironment(flag.environments, environment, { ...existing, enabled: on }) }
  }
  if ((flag.enabled === true) === on) return flag
  const { enabled, ...plain } = flag
  if (on && !decidingFields.some((field) => Object.hasOwn(plain, field))) return { ...plain, environments: setEnvironment({}, environment, { enabled: true }) }
  throw new errors.WRONG_ENVIRONMENT(`Flag ${key} has no environments: its settings hold in all of them, and cannot be ${on ? 'enabled' : 'disabled'} in ${environment} alone. ${on ? 'Enable' : 'Disable'} it as a whole, or first move its settings into environments, with a PATCH or PUT that names every environment it shall be on in`)
}

/** Users, groups and regions, by name. */
export interface TargetNames { users?: readonly string[], groups?: readonly string[], regions?: readonly string[] }

export interface TargetsChange {
  /** Left out for a flag without environments. */
  environment?: string
  /** What `add` gives them; left out, a boolean flag's `on`. What `remove` takes from them; left out, any. */
  variant?: string
  /** Who is added leaves the flag's other variants: one gets what one was last given. */
  add?: TargetNames
  remove?: TargetNames
}

const lists = ['users', 'groups', 'regions'] as const

/** The flag with names added to or removed from its targets, in one environment or, without environments, as a whole. */
export function changeTargets (key: string, flag: Flag, { environment, ...change }: TargetsChange): Flag {
  const settings = settingsFor(key, flag, environment, 'targets')
  return withSettings(flag, environment, { ...settings, targets: changed(key, flag, settings.targets, change) })
}

/** What decides in the environment that is meant; a flag without environments is meant as a whole. Throws WRONG_ENVIRONMENT. */
export function settingsFor (key: string, { environments, ...flag }: Flag, environment: string | undefined, what: 'targets' | 'rollouts'): Environment {
  if (environments === undefined) {
    if (environment !== undefined) throw new errors.WRONG_ENVIRONMENT(`Flag ${key} has no environments: its ${what} hold in all of them. Leave the environment out`)
    return flag
  }
  const names = Object.keys(environments).join(', ') || 'none yet'
  if (environment === undefined) throw new errors.WRONG_ENVIRONMENT(`Flag ${key} has ${what} for each environment (${names}); say which one`)
  if (!Object.hasOwn(environments, environment)) throw new errors.WRONG_ENVIRONMENT(`Flag ${key} has no environment ${environment}, but ${names}; create it with PATCH, or by enabling or disabling the flag there`)
  return environments[environment]!
}

/** The flag with other settings where `settingsFor` found them. */
export function withSettings (flag: Flag, environment: string | undefined, settings: Environment): Flag {
  return environment === undefined ? settings : { ...flag, environments: setEnvironment(flag.environments ?? {}, environment, settings) }
}

function changed (key: string, flag: Flag, targets: readonly Target[] = [], { variant, add = {}, remove = {} }: Omit<TargetsChange, 'environment'>): Target[] {
  const given = variantMeant(flag, variant)
  if (given === undefined && lists.some((list) => (add[list]?.length ?? 0) > 0)) throw new errors.INVALID_REQUEST(`Flag ${key} has variants of its own; say with "variant" which one to give`)
  for (const names of lists.flatMap((list) => [add[list], remove[list]])) {
    if (names !== undefined && !Array.isArray(names)) throw new errors.INVALID_REQUEST('Whom to add or to remove is told in lists, such as { "users": ["user_123"] }')
  }
  const next = targets.map((target) => ({ ...target }))
  for (const list of lists) {
    const added = new Set(add[list])
    const homeless = new Set(added)
    const removed = new Set(remove[list])
    for (const target of next) {
      const here = variantMeant(flag, target.variant)
      if (target[list] === undefined) continue
      target[list] = target[list].filter((name) => !(removed.has(name) && (variant === undefined || here === variant)) && !(added.has(name) && here !== given))
      if (here === given) for (const name of target[list]) homeless.delete(name)
    }
    if (homeless.size === 0) continue
    const home = next.find((target) => variantMeant(flag, target.variant) === given)
    if (home !== undefined) home[list] = [...home[list] ?? [], ...homeless]
    else next.push({ ...variant === undefined || (isBoolean(flag) && variant === 'on') ? {} : { variant }, [list]: [...homeless] })
  }
  return next.filter((target) => lists.some((list) => (target[list]?.length ?? 0) > 0))
}
