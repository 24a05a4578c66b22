import type { When } from '../model/condition.js'
import { environmentOf } from '../model/meaning.js'
import { segmentsIn } from '../model/references.js'
import type { Snapshot } from './snapshot.js'

/** Every flag whose answers in an environment may differ after a change: those changed, and those that use what changed, by however many steps. */
export function affectedBy ({ flags, segments }: { flags: readonly string[], segments: readonly string[] }, snapshot: Snapshot, environment: string): string[] {
  const usedIn = new Map<string, string[]>() // 'flag:…' or 'segment:…' → the names of those that use it
  const use = (used: string, by: string) => {
    const users = usedIn.get(used)
    if (users === undefined) usedIn.set(used, [by])
    else users.push(by)
  }
  const useSegments = (when: When, by: string) => { for (const { segment } of segmentsIn(when)) use(`segment:${segment}`, by) }

  if (segments.length > 0) for (const { key, document } of snapshot.segments()) useSegments(document.when, `segment:${key}`)
  for (const { key, document } of snapshot.flags()) {
    const { prerequisites, rules } = environmentOf(document, environment) ?? {}
    if (prerequisites !== undefined) for (const { flag } of prerequisites) use(`flag:${flag}`, `flag:${key}`)
    if (rules !== undefined && segments.length > 0) for (const { when } of rules) useSegments(when, `flag:${key}`)
  }

  const affected = new Set([...flags.map((key) => `flag:${key}`), ...segments.map((key) => `segment:${key}`)])
  for (const name of affected) for (const user of usedIn.get(name) ?? []) affected.add(user) // a Set gives also what is added on the way
  return [...affected].filter((name) => name.startsWith('flag:')).map((name) => name.slice('flag:'.length))
}
