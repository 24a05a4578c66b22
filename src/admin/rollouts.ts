import { errors } from '../errors.js'
import { movedTo, paused, resumed, rolledBackTo, type Move } from '../evaluation/moves.js'
import { beginningsOf, isHeldBack, running, stageAt, stageOf, timeText } from '../model/stages.js'
import type { Environment, Flag } from '../model/flag.js'
import { disabledBy, rulesMeant } from '../model/meaning.js'
import { defaultMinimum, tellAlarm, type Alarm } from '../model/guard.js'
import { isStaged, type RolloutState, type Serve, type Stage, type Staged } from '../model/serve.js'
import { settingsFor, withSettings } from './settings.js'

export type { Move }

/** Which rollout of a flag is meant. */
export interface RolloutPlace {
  /** Left out for a flag without environments. */
  environment?: string
  /** The name or the number (the first being 0) of the rule whose serve has the stages; left out, the flag's own serve. */
  rule?: string | number
}

export interface RolloutMove extends RolloutPlace {
  /**
   * The stage that this moves on from, as a rollout's `stage` says: refused when it stands at another by now, so that of many
   * who answer to the same moment one moves it. Left out, each call is a step from wherever it stands.
   */
  from?: number
}

/**
 * Where a rollout stands. Stages are counted from 0; `stage` is -1 before the first begins. Times are ISO strings of the
 * store's clock.
 */
export interface Rollout {
  key: string
  environment?: string
  /** The rule's name, else its number. */
  rule?: string
  /** running: its clock brings the next stage; waiting: a person has to, or its guard has to see more; complete: at the last stage. */
  status: 'running' | 'waiting' | 'paused' | 'disabled' | 'complete'
  stage: number
  stages: number
  percentage: number
  /** The groups of all stages reached: who is in one of them is in. */
  groups: string[]
  /** When this stage was reached; null where that is not known, or none is. */
  since: string | null
  next: NextStage | null
  /** Why no next stage comes by itself. */
  why?: string
  pausedAt?: string
  disabledAt?: string
  /** What its guard needs to see of this stage (requests of those who are in), and whether nothing more is needed for the clock to leave it. */
  guard?: { minimum: number, enough: boolean }
  /** What its guard stopped it for; until somebody advances or resumes it. */
  alarm?: Alarm
  version: number
}

/** `at` is null where the stage does not come by itself. */
export interface NextStage { stage: number, percentage: number, groups: string[], at: string | null }

/** The flag with one of its rollouts moved: by one stage, or its clock stopped or started. Throws NO_ROLLOUT or ROLLOUT_CONFLICT. */
export function moveRollout (key: string, flag: Flag, move: Move, { from, ...place }: RolloutMove, now: number): Flag {
  const { settings, draw, name } = find(key, flag, place)
  const { stages } = draw
  const stage = stageAt(draw, now)
  if (from !== undefined && from !== stage) throw new errors.ROLLOUT_CONFLICT(`${name} stands at stage ${stage}, not ${from}: somebody, or its clock, has moved it already; read it again`)
  const moved = (state: RolloutState) => withState(key, flag, place, state)
  const disabled = disabledBy(flag, place.environment ?? '') !== undefined

  switch (move) {
    case 'pause': return moved(paused(draw, now))
    case 'resume': return moved(resumed(draw, now))
    case 'advance':
      if (disabled) throw new errors.ROLLOUT_CONFLICT(`${name} is disabled, and its rollout does not advance; enable it first`)
      // Whoever advances may not know yet what its guard has just seen.
      if (draw.state?.alarm !== undefined && from === undefined) throw new errors.ROLLOUT_CONFLICT(`${name} does not advance: ${toldStop(draw)}; resume it first, or say with "from": ${stage} that this is known`)
      if (stage === stages.length - 1) throw new errors.ROLLOUT_CONFLICT(`${name} stands at its last stage, ${percent(stages[stage]!)} of users; there is none to advance to`)
      return moved(movedTo(stage + 1, draw, now))
    case 'rollback':
      if (stage > 0) return moved(rolledBackTo(stage - 1, draw, now))
      if (disabled) throw new errors.ROLLOUT_CONFLICT(`${name} is disabled, and its rollout stands at its first stage; there is nothing to roll back to`)
      return withSettings(flag, place.environment, { ...settings, enabled: false })
  }
}

/** The flag with one of its rollouts in another state. Throws NO_ROLLOUT. */
export function withState (key: string, flag: Flag, place: RolloutPlace, state: RolloutState): Flag {
  const { settings, index, draw } = find(key, flag, place)
  return withSettings(flag, place.environment, withServe(settings, index, { ...draw, state }))
}

/** Where a rollout stands at a moment. Throws NO_ROLLOUT. */
export function rolloutOf (key: string, flag: Flag, place: RolloutPlace, now: number): Omit<Rollout, 'version'> {
  const { draw, rule } = find(key, flag, place)
  const { stages, guard, state } = draw
  const beginnings = beginningsOf(draw)
  const stage = stageOf(beginnings, now)
  const last = stage === stages.length - 1
  const comes = beginnings[stage + 1] ?? Infinity
  const status = statusOf(flag, place, draw, last, comes)
  return {
    key,
    ...place.environment !== undefined && { environment: place.environment },
    ...rule !== undefined && { rule },
    status,
    stage,
    stages: stages.length,
    percentage: stages[stage]?.percentage ?? 0,
    groups: groupsUpTo(stages, stage),
    since: sinceOf(draw, stage),
    next: last ? null : { stage: stage + 1, percentage: stages[stage + 1]!.percentage, groups: groupsUpTo(stages, stage + 1), at: comes === Infinity ? null : timeText(comes) },
    ...status !== 'running' && { why: whyOf(status, draw, stage, now) },
    ...state?.pausedAt !== undefined && { pausedAt: state.pausedAt },
    ...state?.disabledAt !== undefined && { disabledAt: state.disabledAt },
    ...guard !== undefined && { guard: { minimum: guard.minimum ?? defaultMinimum, enough: !isHeldBack(draw, stage) } },
    ...state?.alarm !== undefined && { alarm: state.alarm }
  }
}

const reasons = {
  disabled: 'the flag or its environment is disabled: until a person enables it, its clock stands and nothing advances it',
  paused: 'the rollout is paused: until a person resumes it, its clock stands',
  waiting: 'this stage has no "hours" and the next no "at": a person advances it',
  complete: 'this is the last stage'
}

function whyOf (status: keyof typeof reasons, draw: Staged, stage: number, now: number): string {
  const { guard } = draw
  if (status === 'waiting' && isHeldBack(draw, stage)) {
    const due = beginningsOf({ ...draw, guard: undefined })[stage + 1]!
    const seen = `its guard has not yet seen ${guard!.minimum ?? defaultMinimum} requests of those who are in at this stage`
    if (due !== Infinity) return `${seen}; when it has, the next one begins${due > now ? `, not before ${timeText(due)}` : ''}`
  }
  const stopped = status === 'paused' || status === 'disabled' ? toldStop(draw) : undefined
  return `${reasons[status]}${stopped === undefined ? '' : `; ${stopped}`}`
}

function toldStop ({ stages, state }: Staged): string | undefined {
  if (state?.alarm === undefined) return undefined
  const stage = stages[state.alarm.stage] // whoever imports a flag may say anything
  return `its guard stopped it${stage === undefined ? '' : ` at ${percent(stage)}`}: ${tellAlarm(state.alarm)}`
}

function statusOf (flag: Flag, { environment = '' }: RolloutPlace, { state }: Staged, last: boolean, comes: number): Rollout['status'] {
  if (disabledBy(flag, environment) !== undefined) return 'disabled'
  if (last) return 'complete'
  if (state?.pausedAt !== undefined) return 'paused'
  return comes === Infinity ? 'waiting' : 'running'
}

function sinceOf (draw: Staged, stage: number): string | null {
  const { state } = draw
  if (stage < 0) return null
  if (state !== undefined && stage <= state.stage) return state.since
  const begun = running(draw)[stage]!
  return begun === -Infinity ? null : timeText(begun)
}

function groupsUpTo (stages: readonly Stage[], stage: number): string[] {
  return [...new Set(stages.slice(0, stage + 1).flatMap(({ groups }) => groups ?? []))]
}

function percent ({ percentage }: Stage): string {
  return `${percentage} %`
}

interface Found { settings: Environment, index: number | undefined, draw: Staged, rule: string | undefined, name: string }

function find (key: string, flag: Flag, { environment, rule }: RolloutPlace): Found {
  const settings = settingsFor(key, flag, environment, 'rollouts')
  const rules = settings.rules ?? []
  const where = `Flag ${key}${environment === undefined ? '' : ` in ${environment}`}`
  if (rule === undefined) {
    if (isStaged(settings.serve)) return { settings, index: undefined, draw: settings.serve, rule, name: where }
    const staged = rules.flatMap(({ name, serve }, index) => isStaged(serve) ? [name ?? index] : [])
    const hint = staged.length === 0 ? 'give its serve some, such as { "stages": [{ "percentage": 5 }, { "percentage": 100 }] }' : `some of its rules have: say which one with "rule", such as ${JSON.stringify(staged[0])}`
    throw new errors.NO_ROLLOUT(`${where} is not rolled out in stages: ${hint}`)
  }
  const meant = rulesMeant(rules, rule)
  if (meant.length > 1) throw new errors.NO_ROLLOUT(`${where} has ${meant.length} rules called ${JSON.stringify(rule)}; give the number of one of them: ${meant.join(', ')}`)
  const [index] = meant
  if (index === undefined) {
    const known = rules.map(({ name }, index) => name === undefined ? String(index) : JSON.stringify(name)).slice(0, 20)
    throw new errors.NO_ROLLOUT(`${where} has no rule ${JSON.stringify(rule)}${known.length === 0 ? '; it has none at all' : `, but ${known.join(', ')}`}`)
  }
  const found = rules[index]!
  const name = `${where}, rule ${found.name === undefined ? index : JSON.stringify(found.name)}`
  if (!isStaged(found.serve)) throw new errors.NO_ROLLOUT(`${name} is not rolled out in stages: give its serve some, such as { "stages": [{ "percentage": 5 }, { "percentage": 100 }] }`)
  return { settings, index, draw: found.serve, rule: found.name ?? String(index), name }
}

function withServe (settings: Environment, index: number | undefined, serve: Serve): Environment {
  if (index === undefined) return { ...settings, serve }
  return { ...settings, rules: settings.rules!.map((rule, at) => at === index ? { ...rule, serve } : rule) }
}
