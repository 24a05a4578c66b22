import { environmentOf } from '../model/meaning.js'
import { namedBy, segmentsIn } from '../model/references.js'
import type { Snapshot } from './snapshot.js'

/** Every flag whose answers in an environment may differ after a change: those changed, and those that use what changed, by however many steps. */
export function affectedBy ({ flags, segments }: { flags: readonly string[], segments: readonly string[] }, snapshot: Snapshot, environment: string): string[] {
  const users = new Map<string, string[]>() // of 'flag:…' and 'segment:…', in any environment
  const use = (kind: 'flag' | 'segment', key: string, user: string) => {
    const known = users.get(`${kind}:${key}`)
    if (known === undefined) users.set(`${kind}:${key}`, [user])
    else known.push(user)
  }
  for (const { key, outline } of snapshot.flags()) {
    for (const flag of outline.flags) use('flag', flag, `flag:${key}`)
    if (segments.length > 0) for (const segment of outline.segments) use('segment', segment, `flag:${key}`)
  }
  if (segments.length > 0) for (const { key, document } of snapshot.segments()) for (const { segment } of segmentsIn(document.when)) use('segment', segment, `segment:${key}`)

  const affected = new Set([...flags.map((key) => `flag:${key}`), ...segments.map((key) => `segment:${key}`)])
  for (const name of affected) { // a Set gives also what is added on the way
    for (const user of users.get(name) ?? []) if (uses(user, name, snapshot, environment)) affected.add(user)
  }
  return [...affected].filter((name) => name.startsWith('flag:')).map((name) => name.slice('flag:'.length))
}

/** Whether a flag uses something in just this environment; a segment that was found to use something does so in all. */
function uses (user: string, name: string, snapshot: Snapshot, environment: string): boolean {
  if (user.startsWith('segment:')) return true
  const settings = environmentOf(snapshot.flag(user.slice('flag:'.length))!.document, environment)
  if (settings === undefined) return false
  const named = namedBy(settings)
  return name.startsWith('flag:') ? named.flags.has(name.slice('flag:'.length)) : named.segments.has(name.slice('segment:'.length))
}
