interface Step { key: string, ways: readonly string[], gone: number, depth: number }

/**
 * How many steps the longest way on from a key takes; Infinity when one leads to nothing, or back to where it came from.
 * `known` keeps the answers. Without recursion: a way may be as long as there are documents.
 */
export function depthOf (key: string, next: (key: string) => readonly string[] | undefined, known: Map<string, number>): number {
  const enter = (key: string): Step => {
    known.set(key, Infinity) // so that a way that comes back here has no end
    const ways = next(key)
    return { key, ways: ways ?? [], gone: 0, depth: ways === undefined ? Infinity : 0 }
  }
  const steps = [enter(key)]
  for (let step = steps.at(-1); step !== undefined; step = steps.at(-1)) {
    const way = step.depth === Infinity ? undefined : step.ways[step.gone]
    const depth = way === undefined ? undefined : known.get(way)
    if (way === undefined) {
      known.set(step.key, step.depth)
      steps.pop()
    } else if (depth === undefined) {
      steps.push(enter(way))
    } else {
      step.depth = Math.max(step.depth, depth + 1)
      step.gone++
    }
  }
  return known.get(key)!
}
