import type { Snapshot } from './snapshot.js'

/** A sentence where flags have environments and none of them is this one: probably a slip of the pen. */
export function doubtOfEnvironment (snapshot: Snapshot, environment: string): string | undefined {
  const known = new Set<string>()
  for (const { document } of snapshot.flags()) {
    if (document.environments === undefined) continue
    if (Object.hasOwn(document.environments, environment)) return undefined
    for (const name of Object.keys(document.environments)) if (known.size < 20) known.add(name)
  }
  return known.size === 0 ? undefined : `no flag knows the environment ${environment}; known are ${[...known].sort().join(', ')}`
}
