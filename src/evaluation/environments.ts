import type { Snapshot } from './snapshot.js'

/** Of how many environments a process keeps what it has worked out, or counted. It is asked for one, or a few, but their names may come from callers. */
export const mostEnvironments = 32

/** A sentence where flags have environments and none of them is this one: probably a slip of the pen. */
export function doubtOfEnvironment (snapshot: Snapshot, environment: string): string | undefined {
  const known = new Set<string>()
  for (const { outline: { environments } } of snapshot.flags()) {
    if (environments.includes(environment)) return undefined
    for (const name of environments) if (known.size < 20) known.add(name)
  }
  return known.size === 0 ? undefined : `no flag knows the environment ${environment}; known are ${[...known].sort().join(', ')}`
}
