import { segmentsIn } from '../model/references.js'
import type { Snapshot } from './snapshot.js'

/**
 * Every flag whose answers may differ after a change: those changed, and those that use what changed, in any environment and by
 * however many steps, or share a layer that was divided otherwise `before`. It looks at all flags of a snapshot, and parses none.
 */
export function affectedBy ({ flags, segments }: { flags: readonly string[], segments: readonly string[] }, snapshot: Snapshot, before = snapshot.layers): string[] {
  const changed = new Set(segments)
  if (changed.size > 0) {
    const users: Users = new Map()
    for (const { key, document } of snapshot.segments()) for (const { segment } of segmentsIn(document.when)) use(users, segment, key)
    spread(changed, users)
  }
  const affected = new Set(flags)
  const users: Users = new Map()
  for (const { key, outline } of snapshot.flags()) {
    if (outline.flags.size > 0) for (const flag of outline.flags) use(users, flag, key)
    if (changed.size > 0 && outline.segments.size > 0) for (const segment of outline.segments) if (changed.has(segment)) affected.add(key)
  }
  if (before !== snapshot.layers) for (const layers of [before, snapshot.layers]) for (const flag of layers.neighbours(flags)) affected.add(flag)
  spread(affected, users)
  return [...affected]
}

type Users = Map<string, string[]>

function use (users: Users, used: string, user: string): void {
  const known = users.get(used)
  if (known === undefined) users.set(used, [user])
  else known.push(user)
}

/** Adds who uses any of them, and who uses those. */
function spread (names: Set<string>, users: Users): void {
  for (const name of names) for (const user of users.get(name) ?? []) names.add(user) // a Set gives also what is added on the way
}
