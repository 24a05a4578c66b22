import { setImmediate as turn } from 'node:timers/promises'

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

const runLength = 4096

/** The entries in the order of their keys, some hundred at a time: sorted in runs and merged as they are taken, so that 100,000 do not hold the event loop. */
export async function * sorted<E extends { readonly key: string }> (entries: Iterable<E>, rest: () => Promise<void> | undefined): AsyncGenerator<E[]> {
  const all = [...entries]
  const runs: Array<{ entries: E[], at: number }> = []
  for (let start = 0; start < all.length; start += runLength) {
    runs.push({ entries: all.slice(start, start + runLength).sort(byKey), at: 0 })
    await rest()
  }
  let part: E[] = []
  for (;;) {
    let least: E | undefined
    let from: typeof runs[number] | undefined
    for (const run of runs) {
      const entry = run.entries[run.at]
      if (entry !== undefined && (least === undefined || entry.key < least.key)) [least, from] = [entry, run]
    }
    if (least === undefined) break
    from!.at++
    if (part.push(least) < 256) continue
    yield part
    part = []
    await rest()
  }
  if (part.length > 0) yield part
}

/** Asked between pieces of work: something to wait for when the event loop was held for 10 ms. */
export function pace (): () => Promise<void> | undefined {
  let begun = performance.now()
  return () => performance.now() - begun < 10 ? undefined : turn().then(() => { begun = performance.now() })
}
