/** The name that was probably meant, or undefined when none is near: up to two letters wrong or swapped, in a short name one, in two letters none. */
export function nearest (written: string, names: Iterable<string>): string | undefined {
  const plain = (name: string) => name.toLowerCase().replaceAll(/[-_ ]/g, '')
  const target = plain(written.slice(0, 100))
  let best: string | undefined
  let least = Math.min(2, Math.floor(target.length / 3)) + 1
  for (const name of names) {
    const distance = edits(target, plain(name), least)
    if (distance < least) [best, least] = [name, distance]
  }
  return best
}

/** "; did you mean …?", or nothing. */
export function didYouMean (written: string, names: Iterable<string>): string {
  const name = nearest(written, names)
  return name === undefined ? '' : `; did you mean "${name}"?`
}

/** Letters inserted, removed, replaced, or swapped with their neighbour; at least `limit` is as good as far away. */
function edits (a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? before[j - 2]! + 1 : Infinity
      row.push(Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1), swapped))
    }
    [before, last] = [last, row]
  }
  return last[b.length]!
}
