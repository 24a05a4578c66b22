/** The name that was probably meant, if one is near: at most two letters wrong or swapped, or one third of a short name. */
export function nearest (name: string, names: Iterable<string>): string | undefined {
  let best: string | undefined
  let least = Math.min(2, Math.floor(name.length / 3)) + 1
  for (const candidate of names) {
    const far = distance(name.toLowerCase(), candidate.toLowerCase())
    if (far < least) {
      best = candidate
      least = far
    }
  }
  return best
}

// Edits between two texts, two neighbours swapped being one (optimal string alignment), three rows at a time.
function distance (a: string, b: string): number {
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const edits = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      next.push(swapped ? Math.min(edits, before[j - 2]! + 1) : edits)
    }
    before = row
    row = next
  }
  return row[b.length]!
}
