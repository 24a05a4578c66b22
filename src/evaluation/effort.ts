/*
 * What one evaluation may cost. A condition costs next to nothing, but callers send long texts and long lists, and each may be
 * held against many values and patterns. Counted in steps of at most about 40 ns, not in time, so that every process
 * answers the same. Evaluation is synchronous, so one count for the process is enough.
 */

/** Steps of one evaluation with all its prerequisites and segments: at most about 2 ms. */
const most = 50_000

let left = most
let depth = 0

/** At the begin of an evaluation; within another one it counts towards that. */
export function begin (times = 1): void {
  if (depth === 0) left = most * times
}

/** An evaluation that has cost too much. */
export class TooMuch extends Error {}

/** Throws TooMuch when the evaluation has cost too much. Hot. */
export function spend (steps: number): void {
  left -= steps
  if (left < 0) throw new TooMuch('evaluating it takes too long for this context: shorten its texts and lists, or the patterns and values that they are compared with')
}

/** Between `enter` and `leave` evaluations belong to the one that is under way. */
export function enter (): void {
  depth++
}

export function leave (): void {
  depth--
}

/** Whether the evaluation under way belongs to another. */
export function isWithin (): boolean {
  return depth > 0
}

/** What it costs to go through a text; short ones are free. */
export function stepsOf (text: string): number {
  return text.length >> 5
}
