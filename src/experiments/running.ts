import { keyReader } from '../evaluation/draw.js'
import type { Snapshot } from '../evaluation/snapshot.js'
import type { Trial } from '../evaluation/trial.js'
import { experimentOf, type Experiment } from '../model/experiment.js'

export interface Running { experiment: Experiment, unitOf: Trial['unitOf'] }

// Names of environments may come from callers.
const mostEnvironments = 32

const found = new WeakMap<Snapshot, Map<string, Running[]>>()

/** The experiments in an environment. A snapshot never changes, so they are looked for once in each. */
export function runningIn (snapshot: Snapshot, environment: string): Running[] {
  let environments = found.get(snapshot)
  if (environments === undefined) found.set(snapshot, environments = new Map())
  let running = environments.get(environment)
  if (running === undefined) {
    if (environments.size === mostEnvironments) environments.clear()
    environments.set(environment, running = [])
    for (const { key, document } of snapshot.flags()) {
      const experiment = experimentOf(key, document, environment)
      if (experiment !== undefined) running.push({ experiment, unitOf: keyReader(experiment.by) })
    }
  }
  return running
}
