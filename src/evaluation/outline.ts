import type { Flag } from '../model/flag.js'
import { isGuarded } from '../model/guard.js'
import { membershipsOf, type Member } from '../model/layer.js'
import { namedBy } from '../model/references.js'
import { beginningsOfFlag, type Beginning } from './boundaries.js'

/** What is asked of all flags at once. It is noted when a flag is loaded, so that of many only those that are used need be parsed again. */
export interface Outline {
  /** Its stages that begin by the clock. */
  readonly beginnings: readonly Beginning[]
  /** The names of its environments; none for a flag that is the same in all. */
  readonly environments: readonly string[]
  /** The keys of flags and segments that it names. */
  readonly flags: ReadonlySet<string>
  readonly segments: ReadonlySet<string>
  /** Whether it has an experiment in any environment. */
  readonly isCounted: boolean
  /** Whether it has a guarded rollout in any environment. */
  readonly isGuarded: boolean
  /** The layers that its experiments share with others. */
  readonly memberships: readonly Member[]
  /** Whether browsers may see it. */
  readonly public: boolean
}

const none: ReadonlySet<string> = new Set()
const plain: Outline = Object.freeze({ beginnings: Object.freeze([]), environments: Object.freeze([]), flags: none, segments: none, isCounted: false, isGuarded: false, memberships: Object.freeze([]), public: false })

export function outlineOf (key: string, flag: Flag): Outline {
  const beginnings = beginningsOfFlag(key, flag)
  const environments = flag.environments === undefined ? plain.environments : Object.keys(flag.environments)
  const named = namesOthers(flag) ? namedBy(flag) : plain
  const isCounted = flag.experiment !== undefined || Object.values(flag.environments ?? {}).some(({ experiment }) => experiment !== undefined)
  const guarded = isGuarded(flag) || Object.values(flag.environments ?? {}).some(isGuarded)
  if (beginnings.length + environments.length === 0 && named === plain && !isCounted && !guarded && flag.public !== true) return plain // so is nearly every one
  return { beginnings, environments, flags: named.flags, segments: named.segments, isCounted, isGuarded: guarded, memberships: isCounted ? membershipsOf(key, flag) : plain.memberships, public: flag.public === true }
}

function namesOthers (flag: Flag): boolean {
  return flag.environments !== undefined || flag.prerequisites !== undefined || flag.rules !== undefined
}
