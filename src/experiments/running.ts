import { keyReader } from '../evaluation/draw.js'
import { mostEnvironments } from '../evaluation/environments.js'
import type { Snapshot } from '../evaluation/snapshot.js'
import type { Trial } from '../evaluation/trial.js'
import { experimentOf, type Experiment } from '../model/experiment.js'

export interface Running { experiment: Experiment, unitOf: Trial['unitOf'] }

const found = new WeakMap<Snapshot, Map<string, ReadonlyMap<string, Running>>>()

/** The experiments in an environment, by flag. A snapshot never changes, so they are looked for once in each. */
export function runningIn (snapshot: Snapshot, environment: string): ReadonlyMap<string, Running> {
  let environments = found.get(snapshot)
  if (environments === undefined) found.set(snapshot, environments = new Map())
  const known = environments.get(environment)
  if (known !== undefined) return known
  if (environments.size === mostEnvironments) environments.clear()
  const running = new Map<string, Running>()
  for (const entry of snapshot.flags()) {
    if (!entry.outline.isCounted) continue // its document may not be parsed yet
    const { key, document } = entry
    const experiment = experimentOf(key, document, environment)
    if (experiment !== undefined) running.set(key, { experiment, unitOf: keyReader(experiment.by) })
  }
  environments.set(environment, running)
  return running
}
