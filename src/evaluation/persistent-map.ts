const compactAfter = 1000

/**
 * An immutable map whose newest version is as fast as a `Map` and whose update costs the size of the update.
 * All versions of a generation share one `Map` that is kept at the newest version; an older version holds what the next
 * one replaced and a link to it (Baker's trick: "Shallow binding makes functional arrays fast", 1991). Links point from
 * old to new only, so a version nobody holds is collected. Each 1,000 updates a generation ends and the `Map` is copied:
 * that bounds what a version held for ever costs, in memory and in steps.
 */
export class PersistentMap<V> {
  #latest: Map<string, V>
  #replaced: Map<string, V | undefined> | null = null
  #next: PersistentMap<V> | null = null
  #age: number

  constructor (entries: Map<string, V> = new Map(), age = 0) {
    this.#latest = entries
    this.#age = age
  }

  get (key: string): V | undefined {
    if (this.#next === null) return this.#latest.get(key)
    let version: PersistentMap<V> = this
    while (version.#next !== null) {
      if (version.#replaced!.has(key)) return version.#replaced!.get(key)
      version = version.#next
    }
    return version.#latest.get(key)
  }

  /** The map with these entries set, or removed where the value is undefined. Only the newest version can be updated. */
  with (updates: ReadonlyMap<string, V | undefined>): PersistentMap<V> {
    if (this.#next !== null) throw new Error('only the newest version of a PersistentMap can be updated')
    if (updates.size === 0) return this
    if (this.#age >= compactAfter) return new PersistentMap(new Map(this.#latest)).with(updates)
    const replaced = new Map<string, V | undefined>()
    const next = new PersistentMap(this.#latest, this.#age + updates.size)
    for (const [key, value] of updates) {
      replaced.set(key, this.#latest.get(key))
      if (value === undefined) this.#latest.delete(key)
      else this.#latest.set(key, value)
    }
    this.#replaced = replaced
    this.#next = next
    return next
  }

  /** All values, in no particular order. Must be read to their end before the next update. */
  values (): IterableIterator<V> {
    return this.#next === null ? this.#latest.values() : this.#earlierValues()
  }

  * #earlierValues (): IterableIterator<V> {
    const own = new Map<string, V | undefined>()
    let version: PersistentMap<V> = this
    for (; version.#next !== null; version = version.#next) {
      for (const [key, value] of version.#replaced!) if (!own.has(key)) own.set(key, value)
    }
    for (const [key, value] of version.#latest) if (!own.has(key)) yield value
    for (const value of own.values()) if (value !== undefined) yield value
  }
}
