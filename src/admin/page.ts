export interface PageOptions {
  /** At most so many, 1 to 1,000; 50 unless given. */
  limit?: number
  /** The key after which the page begins: the `next` of the one before. */
  after?: string
}

export const defaultLimit = 50
export const maxLimit = 1000

/**
 * The first `limit` matching entries after a key, in the order of keys, and the last key where there are more. Entries come
 * in any order; of 100,000 never more than some pages are kept and sorted, so that a page does not hold the event loop.
 */
export function pageOf<E extends { readonly key: string }> (entries: Iterable<E>, { limit = defaultLimit, after = '' }: PageOptions, matches: (entry: E) => boolean): { entries: E[], next?: string } {
  const wanted = Math.min(Math.max(1, limit), maxLimit) + 1
  let kept: E[] = []
  let last: string | undefined
  for (const entry of entries) {
    if (entry.key <= after || (last !== undefined && entry.key >= last) || !matches(entry)) continue
    kept.push(entry)
    if (kept.length < 4 * wanted) continue
    kept = kept.sort(byKey).slice(0, wanted)
    last = kept.at(-1)!.key
  }
  kept.sort(byKey)
  const page = kept.slice(0, wanted - 1)
  return kept.length < wanted ? { entries: page } : { entries: page, next: page.at(-1)!.key }
}

export function byKey (a: { readonly key: string }, b: { readonly key: string }): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0
}
