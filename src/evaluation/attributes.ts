import type { EvaluationContext } from '../model/context.js'

/** Reads one attribute of a context; undefined or null when it is missing. */
export type Reader = (context: EvaluationContext) => unknown

/** Whether an attribute can be read just so: a context's prototype is Object.prototype or null, so only names that these answer to cannot. */
export function isPlain (name: string): boolean {
  return !(name in Object.prototype) && !name.includes('.')
}

/** Own properties only, looked up whole first, then as a dotted path. */
export function reader (name: string): Reader {
  if (isPlain(name)) return (context) => context[name]
  const path = name.split('.')
  return (context) => (Object.hasOwn(context, name) ? context[name] : undefined) ?? follow(context, path)
}

function follow (value: unknown, path: readonly string[]): unknown {
  for (const name of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
    value = (value as Record<string, unknown>)[name]
  }
  return value
}

/** What can be compared as text: a text, a number or boolean in its JSON form, a date as JSON writes it. */
export function textOf (value: unknown): string | undefined {
  switch (typeof value) {
    case 'string': return value
    case 'number': return Number.isFinite(value) ? String(value) : undefined
    case 'boolean': return value ? 'true' : 'false'
    default: return value instanceof Date && !Number.isNaN(value.getTime()) ? value.toISOString() : undefined
  }
}

/** Larger than the number of any entry. */
export const none = 0x3fffffff

/** The first of the lists in which each name stands; '' is nobody's name. */
export function firstEntries (lists: ReadonlyArray<readonly string[] | undefined>): ReadonlyMap<string, number> {
  const entries = new Map<string, number>()
  for (const [index, names = []] of lists.entries()) {
    for (const name of names) if (name !== '' && !entries.has(name)) entries.set(name, index)
  }
  return entries
}

/** The entry in which a name stands, else `none`. */
export function entryOf (entries: ReadonlyMap<string, number>, name: unknown): number {
  return entries.get(typeof name === 'string' ? name : textOf(name) ?? '') ?? none
}

/** The first entry in which any of the names stands, else `none`: `names` is a list or a single one. */
export function lowestEntryOf (entries: ReadonlyMap<string, number>, names: unknown): number {
  if (!Array.isArray(names)) return entryOf(entries, names)
  let lowest = none
  for (let i = 0; i < names.length; i++) {
    const entry = entryOf(entries, names[i])
    if (entry < lowest) lowest = entry
  }
  return lowest
}
