/** One line of the table: nanoseconds (or what `unit` says) of ours and of the limit it is held against. */
export interface Row { name: string, ours: number, limit: number, ratio: number, target: number, ok: boolean, unit?: string }

const rounds = 61

/**
 * Calls both in turn, so that whatever else the machine does hits both, and compares the median of each one's faster half:
 * the slower half is other processes' time. `calls` is how many one call of each stands for.
 */
export function compare (name: string, target: number, calls: number, ours: () => unknown, limit: () => unknown): Row {
  for (let i = 0; i < 5; i++) {
    ours()
    limit()
  }
  const times = { ours: [] as number[], limit: [] as number[] }
  for (let i = 0; i < rounds; i++) {
    times.ours.push(timeOf(ours) / calls)
    times.limit.push(timeOf(limit) / calls)
  }
  return row(name, median(fasterHalf(times.ours)), median(fasterHalf(times.limit)), target)
}

/** At most `target` times the limit is ok. */
export function row (name: string, ours: number, limit: number, target: number, unit?: string): Row {
  const ratio = ours / limit
  return { name, ours, limit, ratio, target, ok: ratio <= target, unit }
}

export function median (numbers: number[]): number {
  return numbers.sort((a, b) => a - b)[numbers.length >> 1]!
}

export function fasterHalf (times: number[]): number[] {
  return times.sort((a, b) => a - b).slice(0, times.length >> 1)
}

function timeOf (work: () => unknown): number {
  const start = process.hrtime.bigint()
  work()
  return Number(process.hrtime.bigint() - start)
}
