import type { Environment, Flag } from '../model/flag.js'
import { disabledBy, servesOf } from '../model/meaning.js'
import { isStaged } from '../model/serve.js'
import { beginningsOf } from '../model/stages.js'
import { mostEnvironments } from './environments.js'

/** A stage that begins by the clock, if nothing is changed until then. */
export interface Beginning {
  readonly flag: string
  /** Undefined for a flag without environments: it begins in each. */
  readonly environment: string | undefined
  /** The rule it stands in, its name or else its index; undefined for the serve of all others. */
  readonly rule: string | undefined
  /** 0-based. */
  readonly stage: number
  /** How many are in from then on, 0 to 100. */
  readonly percentage: number
  /** Epoch milliseconds of the store's clock. */
  readonly at: number
  /** Whether its guard brought it, which until then had not seen enough of the stage before. */
  readonly heldBack?: true
}

const none: readonly Beginning[] = Object.freeze([])

/** When each stage of a flag begins that is not left to a person and has not been reached already; none where it is disabled. Asked of each flag of a load. */
export function beginningsOfFlag (key: string, flag: Flag): readonly Beginning[] {
  if (flag.environments === undefined) return hasStages(flag) ? beginningsIn(key, flag, flag, undefined) : none
  return Object.entries(flag.environments).flatMap(([name, settings]) => hasStages(settings) ? beginningsIn(key, flag, settings, name) : none)
}

function hasStages ({ serve, rules }: Environment): boolean {
  return isStaged(serve) || rules?.some(({ serve }) => isStaged(serve)) === true
}

function beginningsIn (flag: string, document: Flag, settings: Environment, environment: string | undefined): Beginning[] {
  if (disabledBy(document, environment ?? '') !== undefined) return []
  return servesOf(settings).flatMap(({ serve, rule }) => {
    if (!isStaged(serve)) return []
    const wasHeldBack = (stage: number, at: number) => serve.guard !== undefined && serve.state?.stage === stage - 1 && serve.state.enoughAt !== undefined && Date.parse(serve.state.enoughAt) === at
    return beginningsOf(serve)
      .map((at, stage): Beginning => ({ flag, environment, rule, stage, percentage: serve.stages[stage]!.percentage, at, ...wasHeldBack(stage, at) && { heldBack: true } }))
      .filter(({ at }) => Number.isFinite(at))
  })
}

/** How many of these, sorted by time, lie at or before a moment. */
export function countUntil (beginnings: readonly Beginning[], moment: number): number {
  let [low, high] = [0, beginnings.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (beginnings[middle]!.at <= moment) low = middle + 1
    else high = middle
  }
  return low
}

const byEnvironment = new WeakMap<readonly Beginning[], Map<string, readonly Beginning[]>>()

/**
 * When the latest stage began that `environment` has reached by the clock at `now`; 0 for none. As long as that and the documents
 * stay the same, so does every answer.
 */
export function latestBeginning (beginnings: readonly Beginning[], environment: string, now: number): number {
  if (beginnings.length === 0) return 0
  let environments = byEnvironment.get(beginnings)
  if (environments === undefined) byEnvironment.set(beginnings, environments = new Map())
  let own = environments.get(environment)
  if (own === undefined) {
    if (environments.size === mostEnvironments) environments.clear()
    environments.set(environment, own = beginnings.filter((one) => one.environment === undefined || one.environment === environment))
  }
  return own[countUntil(own, now) - 1]?.at ?? 0
}
