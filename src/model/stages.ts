import { isDeepStrictEqual } from 'node:util'
import type { Environment, Flag, Rule } from './flag.js'
import { disabledBy, environmentOf } from './meaning.js'
import type { RolloutState, Serve, Stage } from './serve.js'

const hour = 3_600_000

/**
 * The stage a rollout stands at, 0-based; -1 before the first begins, which only an `at` of its own can delay.
 * A pure function of time: `now` is epoch milliseconds of the store's clock.
 */
export function stageAt (stages: readonly Stage[], state: RolloutState | undefined, now: number): number {
  return stageOf(beginningsOf(stages, state), now)
}

/** The last stage that has begun. */
export function stageOf (beginnings: readonly number[], now: number): number {
  let stage = beginnings.length - 1
  while (stage >= 0 && !(beginnings[stage]! <= now)) stage--
  return stage
}

/**
 * When each stage begins by itself, epoch milliseconds that never fall: -Infinity for those reached, Infinity for those that wait
 * for a person. A stage lasts its `hours` or until the next one's `at`, whichever comes first; while the rollout's clock stands, neither
 * passes. Without state `hours` do not run.
 */
export function beginningsOf (stages: readonly Stage[], state: RolloutState | undefined): number[] {
  const beginnings = running(stages, state)
  const stopped = state?.pausedAt ?? state?.disabledAt
  if (state === undefined || stopped === undefined) return beginnings
  const stands = Date.parse(stopped)
  // A further stage that begins at the very moment of the stop does not: a rollout rolled back below an `at` that has passed stays there.
  return beginnings.map((time, stage) => time < stands || (stage <= state.stage && time === stands) ? -Infinity : Infinity)
}

/** The same as if its clock had never been stopped. */
export function running (stages: readonly Stage[], state: RolloutState | undefined): number[] {
  const beginnings = stages.map(() => -Infinity)
  const current = Math.min(state?.stage ?? 0, stages.length - 1)
  const since = state === undefined ? -Infinity : Date.parse(state.since)
  const scheduled = momentOf(stages[0]!.at)
  // The first stage begins at its `at`, unless a person began it before.
  if (current === 0 && scheduled !== undefined && (state === undefined || since >= scheduled)) beginnings[0] = scheduled
  let begun = Math.max(beginnings[current]!, since)
  for (let next = current + 1; next < stages.length; next++) {
    const { hours } = stages[next - 1]!
    const ends = state === undefined || hours === undefined ? Infinity : begun + hours * hour
    begun = Math.max(begun, Math.min(ends, momentOf(stages[next]!.at) ?? Infinity))
    beginnings[next] = begun
  }
  return beginnings
}

function momentOf (at: string | undefined): number | undefined {
  return at === undefined ? undefined : Date.parse(at)
}

/**
 * The flag as it is to be stored: the state of each of its rollouts is the server's, whatever was sent. Unchanged stages keep theirs,
 * new or changed ones begin at 0; while flag or environment is disabled the rollout's clock stands. `now` as above.
 */
export function settleRollouts (previous: Flag | undefined, next: Flag, now: number): Flag {
  const runs = (environment: string) => disabledBy(next, environment) === undefined
  if (next.environments === undefined) {
    return settle(next, previous?.environments === undefined ? previous : undefined, runs(''), now)
  }
  const environments = Object.entries(next.environments).map(([name, settings]) =>
    [name, settle(settings, previous && environmentOf(previous, name), runs(name), now)])
  return { ...next, environments: Object.fromEntries(environments) }
}

function settle<T extends Environment> (settings: T, previous: Environment | undefined, runs: boolean, now: number): T {
  const { serve, rules } = settings
  return {
    ...settings,
    ...(serve !== undefined && { serve: settleServe(serve, previous?.serve, runs, now) }),
    ...(rules !== undefined && { rules: rules.map((rule, index) => settleRule(rule, ruleBefore(rules, index, previous?.rules), runs, now)) })
  }
}

function settleRule (rule: Rule, previous: Rule | undefined, runs: boolean, now: number): Rule {
  return rule.serve === undefined ? rule : { ...rule, serve: settleServe(rule.serve, previous?.serve, runs, now) }
}

/** The rule that this one was: of its name, else at its place, unless another has that one's name now. */
function ruleBefore (rules: Rule[], index: number, previous: Rule[] = []): Rule | undefined {
  const { name } = rules[index]!
  const before = name === undefined ? undefined : previous.find((rule) => rule.name === name)
  if (before !== undefined) return before
  const here = previous[index]
  return here?.name !== undefined && rules.some(({ name }) => name === here.name) ? undefined : here
}

function settleServe (serve: Serve, previous: Serve | undefined, runs: boolean, now: number): Serve {
  if (typeof serve === 'string') return serve
  const { state: _, ...draw } = serve
  if (draw.stages === undefined) return draw
  const before = typeof previous === 'object' && isDeepStrictEqual(previous.stages, draw.stages) ? previous.state : undefined
  const state = before ?? begin(draw.stages, now)
  return { ...draw, state: runs ? goOn(draw.stages, state, now) : stop(draw.stages, state, now) }
}

/** Where a rollout stands that nobody has moved yet. */
export function begin (stages: readonly Stage[], now: number): RolloutState {
  return { stage: 0, since: timeText(Math.max(now, momentOf(stages[0]!.at) ?? now)) }
}

/** The same rollout, told from the stage that the clock has brought it to. To be asked while its clock runs. */
export function caughtUp (stages: readonly Stage[], state: RolloutState, now: number): RolloutState {
  const beginnings = running(stages, state)
  const stage = stageOf(beginnings, now)
  return stage <= state.stage ? state : { ...state, stage, since: timeText(beginnings[stage]!) }
}

function stop (stages: readonly Stage[], state: RolloutState, now: number): RolloutState {
  if (state.disabledAt !== undefined) return state
  if (state.pausedAt !== undefined) return { ...state, disabledAt: state.pausedAt }
  return { ...caughtUp(stages, state, now), disabledAt: timeText(now) }
}

/** The clock goes on from `disabledAt`. Since then nothing has passed but the `at` of stages, and those begin now: what nobody could reach did not climb. */
export function goOn (stages: readonly Stage[], { disabledAt, ...state }: RolloutState, now: number): RolloutState {
  if (disabledAt === undefined || state.pausedAt !== undefined) return state
  const stopped = Date.parse(disabledAt)
  const beginnings = running(stages, state)
  let stage = stageOf(beginnings, stopped)
  let since = stage < 0 ? now : Math.max(beginnings[stage]!, Date.parse(state.since)) + Math.max(0, now - stopped)
  for (let at = momentOf(stages[stage + 1]?.at); at !== undefined && at <= now; at = momentOf(stages[stage + 1]?.at)) {
    stage++
    since = now
  }
  return stage < 0 ? state : { ...state, stage, since: timeText(since) }
}

export function timeText (time: number): string {
  return new Date(time).toISOString()
}
