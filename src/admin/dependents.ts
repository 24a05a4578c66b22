import { errors } from '../errors.js'
import type { FlagEntry, Snapshot } from '../evaluation/snapshot.js'
import type { Environment, Flag } from '../model/flag.js'
import { variantMeant, variantsOf } from '../model/meaning.js'
import { segmentsIn } from '../model/references.js'
import type { Kind } from '../store/store.js'

/** A flag of a snapshot, or one that is about to be stored. */
type Named = Pick<FlagEntry, 'key' | 'document'> & Partial<Pick<FlagEntry, 'outline'>>

/** Throws IN_USE, with their names, when other documents need this one. */
export function assertUnneeded (kind: Kind, key: string, snapshot: Snapshot): void {
  const needing = new Set<string>()
  for (const { key: other, outline } of snapshot.flags()) {
    if (outline[`${kind}s`].has(key) && !(kind === 'flag' && other === key)) needing.add(`flag ${other}`)
  }
  if (kind === 'segment') for (const { key: other, document } of snapshot.segments()) if (other !== key && usesSegment(document.when, key)) needing.add(`segment ${other}`)
  if (needing.size > 0) throw new errors.IN_USE(`${kind === 'flag' ? 'Flag' : 'Segment'} ${key}`, listed(needing))
}

/** What decides in each environment. */
function partsOf (flag: Flag): Environment[] {
  return flag.environments === undefined ? [flag] : Object.values(flag.environments)
}

function usesSegment (when: Parameters<typeof segmentsIn>[0], key: string): boolean {
  for (const { segment } of segmentsIn(when)) if (segment === key) return true
  return false
}

/** Whether a flag's prerequisite on another may no longer be met because of which variants that has after a change. */
export function losesVariants (before: Flag, after: Flag): boolean {
  const remaining = variantsOf(after)
  return (before.variants === undefined) !== (after.variants === undefined) || [...variantsOf(before).keys()].some((name) => !remaining.has(name))
}

/** Throws IN_USE when one of the changed flags no longer has a variant that a prerequisite among `flags` asks for. */
export function assertVariantsKept (changed: ReadonlyMap<string, { before: Flag, after: Flag }>, flags: Iterable<Named>): void {
  if (changed.size === 0) return
  const variants = new Set<string>()
  const needing = new Set<string>()
  for (const entry of flags) {
    const { key, outline } = entry
    if (outline !== undefined && ![...changed.keys()].some((name) => outline.flags.has(name))) continue
    for (const { prerequisites } of partsOf(entry.document)) {
      if (prerequisites === undefined) continue
      for (const { flag, variant } of prerequisites) {
        const change = changed.get(flag)
        if (change === undefined || flag === key) continue
        const meant = variantMeant(change.after, variant)
        if (meant !== undefined && variantsOf(change.after).has(meant)) continue
        variants.add(`Variant ${variantMeant(change.before, variant)} of flag ${flag}`)
        needing.add(`flag ${key}`)
      }
    }
  }
  if (needing.size > 0) throw new errors.IN_USE([...variants].join(', '), listed(needing))
}

function listed (names: Set<string>): string {
  const all = [...names].sort()
  return all.length <= 10 ? all.join(', ') : `${all.slice(0, 10).join(', ')} and ${all.length - 10} more`
}
