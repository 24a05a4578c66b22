import { keyReader } from '../evaluation/draw.js'
import { mostEnvironments } from '../evaluation/environments.js'
import type { Snapshot } from '../evaluation/snapshot.js'
import type { Trial } from '../evaluation/trial.js'
import { experimentOf, type Experiment } from '../model/experiment.js'
import { cohortOf, guardedServesOf, isCompared, type GuardedServe } from '../model/guard.js'
import { beginningsOf, stageOf } from '../model/stages.js'

export interface Running { experiment: Experiment, unitOf: Trial['unitOf'] }

/** A rollout whose guard watches a goal. `cohortAt` gives those whom chance draws at a moment (epoch milliseconds by the store's clock), undefined when it draws nobody. */
export interface Watching { flag: string, goal: string, unitOf: Trial['unitOf'], cohortAt: (now: number) => Experiment | undefined }

interface Found { running: ReadonlyMap<string, Running>, watching: readonly Watching[] }

const found = new WeakMap<Snapshot, Map<string, Found>>()

/** The experiments in an environment, by flag. */
export function runningIn (snapshot: Snapshot, environment: string): ReadonlyMap<string, Running> {
  return foundIn(snapshot, environment).running
}

/** The rollouts in an environment whose guards watch a goal. */
export function watchingIn (snapshot: Snapshot, environment: string): readonly Watching[] {
  return foundIn(snapshot, environment).watching
}

/** A snapshot never changes, so what is in it is looked for once in each. */
function foundIn (snapshot: Snapshot, environment: string): Found {
  let environments = found.get(snapshot)
  if (environments === undefined) found.set(snapshot, environments = new Map())
  const known = environments.get(environment)
  if (known !== undefined) return known
  if (environments.size === mostEnvironments) environments.clear()
  const running = new Map<string, Running>()
  const watching: Watching[] = []
  for (const entry of snapshot.flags()) {
    const { isCounted, isGuarded } = entry.outline
    if (!isCounted && !isGuarded) continue // its document may not be parsed yet
    const { key, document } = entry
    const experiment = experimentOf(key, document, environment)
    if (experiment !== undefined) running.set(key, { experiment, unitOf: keyReader(experiment.by) })
    if (isGuarded) watching.push(...guardedServesOf(key, document, environment).flatMap(watchingFor))
  }
  const both = { running, watching }
  environments.set(environment, both)
  return both
}

function watchingFor ({ rollout, draw }: GuardedServe): Watching[] {
  if (rollout.guard.goal === undefined) return []
  const beginnings = beginningsOf(draw)
  const cohorts = draw.stages.map((stage, index) => isCompared(stage) ? cohortOf(rollout, index) : undefined)
  return [{ flag: rollout.flag, goal: rollout.guard.goal.name, unitOf: keyReader(rollout.by), cohortAt: (now) => cohorts[stageOf(beginnings, now)] }]
}
