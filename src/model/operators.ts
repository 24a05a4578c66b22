import type { Condition, Operator } from './condition.js'
import { compilePattern, readMoment, readNumber, readRange, readVersion } from './readings.js'

/** What an operator compares with. `list`: whether `value` may be a list (any of which is meant), must be one, or must not. */
interface Comparison {
  list: 'never' | 'may' | 'must'
  /** Whether it compares texts, so that `ignoreCase` means something. */
  text: boolean
  /** Undefined when one value can be read as the operator needs, else what it must be. */
  refuse: (value: unknown, effort: Effort) => string | undefined
}

const scalar = () => undefined
const text = (value: unknown) => typeof value === 'string' ? undefined : 'a text'
const number = (value: unknown) => readNumber(value) === undefined ? 'a number such as 30' : undefined
const version = (value: unknown) => readVersion(value) === undefined ? 'a semantic version in quotes, such as "2.4.0"' : undefined
const moment = (value: unknown) => readMoment(value) === undefined ? 'a date such as "2027-01-31T08:00:00Z", or epoch milliseconds' : undefined
const range = (value: unknown) => readRange(value) === undefined ? 'a range of addresses such as "10.0.0.0/8"' : undefined

/** What the patterns of a document may still cost to compile, in about the instructions they compile to. */
export interface Effort { left: number }

/** A pattern matches in time that grows with its size, and compiling 100,000 instructions takes about 0.1 s: both are bounded. */
const maxPattern = { length: 1000, instructions: 10_000 }
export const maxEffort = (): Effort => ({ left: 100_000 })

function pattern (value: unknown, effort: Effort): string | undefined {
  if (typeof value !== 'string') return 'a regular expression in quotes'
  if (value.length > maxPattern.length) return `a regular expression of at most ${maxPattern.length} characters`
  const instructions = estimate(value)
  if (instructions > maxPattern.instructions) return 'a regular expression that repeats less; take + or * instead of large counts in {}'
  effort.left -= instructions
  if (effort.left < 0) return 'a shorter regular expression, or others must be: together the document\'s take too long to compile'
  try {
    compilePattern(value)
    return undefined
  } catch (error) {
    return `a regular expression in RE2 syntax, which has no look-around and no back-references (${error instanceof Error ? error.message : String(error)})`
  }
}

/** About as many instructions as a pattern compiles to: a count after a group repeats at most all of it, others one part. */
function estimate (pattern: string): number {
  let parts = pattern.length
  let groups = 1
  for (const [, group, least, most] of pattern.matchAll(/(\))?(?<!\\x)\{(\d+)(?:,(\d*))?\}/g)) {
    const count = Math.max(1, Number(most || least))
    if (group === undefined) parts += count
    else groups *= count
  }
  return parts * groups
}

/** Each operator's value; `exists` and `not_exists` have none. */
const comparisons: Record<Operator, Comparison | undefined> = {
  eq: { list: 'never', text: true, refuse: scalar },
  ne: { list: 'never', text: true, refuse: scalar },
  in: { list: 'must', text: true, refuse: scalar },
  not_in: { list: 'must', text: true, refuse: scalar },
  gt: { list: 'never', text: false, refuse: number },
  gte: { list: 'never', text: false, refuse: number },
  lt: { list: 'never', text: false, refuse: number },
  lte: { list: 'never', text: false, refuse: number },
  contains: { list: 'may', text: true, refuse: text },
  not_contains: { list: 'never', text: true, refuse: text },
  starts_with: { list: 'may', text: true, refuse: text },
  ends_with: { list: 'may', text: true, refuse: text },
  matches: { list: 'may', text: true, refuse: pattern },
  exists: undefined,
  not_exists: undefined,
  semver_eq: { list: 'never', text: false, refuse: version },
  semver_gt: { list: 'never', text: false, refuse: version },
  semver_gte: { list: 'never', text: false, refuse: version },
  semver_lt: { list: 'never', text: false, refuse: version },
  semver_lte: { list: 'never', text: false, refuse: version },
  before: { list: 'never', text: false, refuse: moment },
  after: { list: 'never', text: false, refuse: moment },
  in_cidr: { list: 'may', text: false, refuse: range }
}

/** What keeps a condition of the right form from being evaluated: the field at fault (a pointer into the condition) and what to do. */
export function * faultsOfCondition ({ operator, value, ignoreCase }: Condition, effort: Effort): Generator<{ path: string, message: string }> {
  const comparison = comparisons[operator]
  if (comparison === undefined) {
    if (value !== undefined) yield { path: '/value', message: `must be left out: ${operator} compares with nothing` }
  } else if (value === undefined) {
    yield { path: '/value', message: `is missing; ${operator} needs ${comparison.list === 'must' ? 'a list' : 'a value'} to compare with` }
  } else if (Array.isArray(value)) {
    if (comparison.list === 'never') yield { path: '/value', message: `must be a single value for ${operator}, not a list${hints[operator] ?? ''}` }
    else for (const [index, item] of value.entries()) yield * faultsOfValue(operator, comparison, item, `/value/${index}`, effort)
  } else if (comparison.list === 'must') {
    yield { path: '/value', message: `must be a list for ${operator}; write [${JSON.stringify(value)}]` }
  } else {
    yield * faultsOfValue(operator, comparison, value, '/value', effort)
  }
  if (ignoreCase !== undefined && comparison?.text !== true) yield { path: '/ignoreCase', message: `must be left out: ${operator} does not compare texts` }
}

const hints: Partial<Record<Operator, string>> = {
  eq: '; use "in" for one of several',
  ne: '; use "not_in" for none of several',
  not_contains: '; put "contains" with the list inside "not"'
}

function * faultsOfValue (operator: Operator, { refuse }: Comparison, value: unknown, path: string, effort: Effort): Generator<{ path: string, message: string }> {
  const needed = refuse(value, effort)
  if (needed !== undefined) yield { path, message: `must be ${needed} (for ${operator})` }
}
