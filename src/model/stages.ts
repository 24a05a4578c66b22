import { isDeepStrictEqual } from 'node:util'
import type { Environment, Flag, Rule } from './flag.js'
import { isCompared } from './guard.js'
import { disabledBy, environmentOf } from './meaning.js'
import { isStaged, type RolloutState, type Serve, type Staged } from './serve.js'

const hour = 3_600_000

/**
 * The stage a rollout stands at, 0-based; -1 before the first begins, which only an `at` of its own can delay.
 * A pure function of time: `now` is epoch milliseconds of the store's clock.
 */
export function stageAt (draw: Staged, now: number): number {
  return stageOf(beginningsOf(draw), now)
}

/** The last stage that has begun. */
export function stageOf (beginnings: readonly number[], now: number): number {
  let stage = beginnings.length - 1
  while (stage >= 0 && !(beginnings[stage]! <= now)) stage--
  return stage
}

/**
 * When each stage begins by itself, epoch milliseconds that never fall: -Infinity for those reached, Infinity for those that wait
 * for a person or for what their guard has to see. A stage lasts its `hours` or until the next one's `at`, whichever comes first, and
 * under a guard at least until enough has been seen of it; while the rollout's clock stands, neither passes. Without state `hours` do
 * not run.
 */
export function beginningsOf (draw: Staged): number[] {
  const beginnings = running(draw)
  const { state } = draw
  const stopped = state?.pausedAt ?? state?.disabledAt
  if (state === undefined || stopped === undefined) return beginnings
  const stands = Date.parse(stopped)
  // A further stage that begins at the very moment of the stop does not: a rollout rolled back below an `at` that has passed stays there.
  return beginnings.map((time, stage) => time < stands || (stage <= state.stage && time === stands) ? -Infinity : Infinity)
}

/** The same as if its clock had never been stopped. */
export function running ({ stages, guard, state }: Staged): number[] {
  const beginnings = stages.map(() => -Infinity)
  const current = Math.min(state?.stage ?? 0, stages.length - 1)
  const since = state === undefined ? -Infinity : Date.parse(state.since)
  const scheduled = momentOf(stages[0]!.at)
  // The first stage begins at its `at`, unless a person began it before.
  if (current === 0 && scheduled !== undefined && (state === undefined || since >= scheduled)) beginnings[0] = scheduled
  let begun = Math.max(beginnings[current]!, since)
  let enough = momentOf(state?.enoughAt)
  for (let next = current + 1; next < stages.length; next++) {
    const stage = stages[next - 1]!
    const ends = state === undefined || stage.hours === undefined ? Infinity : begun + stage.hours * hour
    const held = enough ?? (guard !== undefined && isCompared(stage) ? Infinity : -Infinity)
    begun = Math.max(begun, Math.min(ends, momentOf(stages[next]!.at) ?? Infinity), held)
    beginnings[next] = begun
    enough = undefined // of this stage alone
  }
  return beginnings
}

/** Whether its guard has not yet seen enough of the stage it stands at for the clock to leave it. */
export function isHeldBack ({ stages, guard, state }: Staged, stage: number): boolean {
  return guard !== undefined && stage >= 0 && stage < stages.length - 1 && isCompared(stages[stage]!) && !(state?.enoughAt !== undefined && stage === state.stage)
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
  const { state: _, ...next } = serve
  if (!isStaged(next)) return next
  const draw = { ...next, state: stateOf(next, previous, now) }
  return { ...draw, state: runs ? goOn(draw, now) : stop(draw, now) }
}

function stateOf (next: Staged, previous: Serve | undefined, now: number): RolloutState {
  if (!isStaged(previous) || previous.state === undefined || !isDeepStrictEqual(previous.stages, next.stages)) return begin(next, now)
  const { state, ...before } = previous
  const isGuarded = next.guard !== undefined || before.guard !== undefined
  return isGuarded && !isDeepStrictEqual(before, next) ? guardedAnew(previous, state, next, now) : state
}

/** Where a rollout stands that nobody has moved yet. */
export function begin ({ stages, guard }: Staged, now: number): RolloutState {
  const since = timeText(Math.max(now, momentOf(stages[0]!.at) ?? now))
  return { stage: 0, since, ...guard !== undefined && { guardedSince: timeText(now) } }
}

/**
 * Where it stands once something else is drawn, or watched: at the stage it was at, of which its guard has seen nothing yet. Without a
 * guard from now on, what it was held back for begins now at the earliest.
 */
function guardedAnew (before: Staged, state: RolloutState, { guard }: Staged, now: number): RolloutState {
  const stopped = state.pausedAt ?? state.disabledAt
  const { guardedSince, enoughAt, ...stands } = stopped === undefined ? caughtUp(before, state, now) : state
  if (guard !== undefined) return { ...stands, guardedSince: timeText(now) }
  return { ...stands, enoughAt: enoughAt ?? stopped ?? timeText(now) }
}

/** The same rollout, told from the stage that the clock has brought it to. To be asked while its clock runs. */
export function caughtUp (draw: Staged, state: RolloutState, now: number): RolloutState {
  const beginnings = running({ ...draw, state })
  const stage = stageOf(beginnings, now)
  if (stage <= state.stage) return state
  const { enoughAt, ...kept } = state
  return { ...kept, stage, since: timeText(beginnings[stage]!) }
}

function stop (draw: Staged & { state: RolloutState }, now: number): RolloutState {
  const { state } = draw
  if (state.disabledAt !== undefined) return state
  if (state.pausedAt !== undefined) return { ...state, disabledAt: state.pausedAt }
  return { ...caughtUp(draw, state, now), disabledAt: timeText(now) }
}

/**
 * The clock goes on from `disabledAt`. Since then nothing has passed but the `at` of stages, and those begin now: what nobody could reach did
 * not climb. Its guard begins anew, with the stage it stands at.
 */
export function goOn (draw: Staged & { state: RolloutState }, now: number): RolloutState {
  const { stages, guard } = draw
  const { disabledAt, ...state } = draw.state
  if (disabledAt === undefined || state.pausedAt !== undefined) return state
  const stopped = Date.parse(disabledAt)
  const beginnings = running({ ...draw, state })
  let stage = stageOf(beginnings, stopped)
  let since = stage < 0 ? now : Math.max(beginnings[stage]!, Date.parse(state.since)) + Math.max(0, now - stopped)
  const isHeld = () => guard !== undefined && stage >= 0 && isCompared(stages[stage]!)
  for (let at = momentOf(stages[stage + 1]?.at); at !== undefined && at <= now && !isHeld(); at = momentOf(stages[stage + 1]?.at)) {
    stage++
    since = now
  }
  const { enoughAt, alarm, guardedSince, ...kept } = state
  return { ...kept, ...stage >= 0 && { stage, since: timeText(since) }, ...guard !== undefined && { guardedSince: timeText(now) } }
}

export function timeText (time: number): string {
  return new Date(time).toISOString()
}
