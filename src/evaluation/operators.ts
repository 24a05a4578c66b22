import { BlockList, isIP } from 'node:net'
import type { SemVer } from 'semver'
import type { Condition, Operator } from '../model/condition.js'
import { compilePattern, readMoment, readNumber, readRange, readVersion } from '../model/readings.js'
import { textOf } from './attributes.js'
import { spend, stepsOf } from './effort.js'

/** Whether one value (no list) matches; undefined when it cannot be read as the operator needs. */
export type Match = (value: unknown) => boolean | undefined

/** How an operator compares. A negative one holds where `match` says false; what cannot be read matches neither way. */
export interface Comparison {
  readonly match: Match
  readonly negative: boolean
  /** Where `match` comes down to standing among these texts or to being on one side of a number: what nearly every rule asks, to be done without a call. */
  readonly texts?: ReadonlySet<string>
  readonly bound?: Bound
}

/** The numbers above or below one, and perhaps it too. */
export interface Bound { readonly number: number, readonly above: boolean, readonly inclusive: boolean }

/** Thrown while compiling what this version cannot evaluate: the rule that holds it does not match as a whole, also under `not`. */
export class Unevaluable extends Error {}

type Expected = Condition['value']
type Scalar = string | number | boolean
type Compile = (expected: Expected, ignoreCase: boolean) => Match | Omit<Comparison, 'negative'>

/** All operators that compare; `exists` and `not_exists` look no further than whether the attribute is there. */
const comparisons: Record<Exclude<Operator, 'exists' | 'not_exists'>, Compile> = {
  eq: (expected, ignoreCase) => among([scalarOf(expected)], ignoreCase),
  ne: (expected, ignoreCase) => among([scalarOf(expected)], ignoreCase),
  in: (expected, ignoreCase) => among(membersOf(expected), ignoreCase),
  not_in: (expected, ignoreCase) => among(membersOf(expected), ignoreCase),
  gt: beyond({ above: true, inclusive: false }),
  gte: beyond({ above: true, inclusive: true }),
  lt: beyond({ above: false, inclusive: false }),
  lte: beyond({ above: false, inclusive: true }),
  contains: textual((actual, expected) => actual.includes(expected)),
  not_contains: textual((actual, expected) => actual.includes(expected)),
  starts_with: textual((actual, expected) => actual.startsWith(expected)),
  ends_with: textual((actual, expected) => actual.endsWith(expected)),
  matches: pattern,
  semver_eq: ordered(readVersion, (actual, expected) => compare(actual, expected) === 0),
  semver_gt: ordered(readVersion, (actual, expected) => compare(actual, expected) > 0),
  semver_gte: ordered(readVersion, (actual, expected) => compare(actual, expected) >= 0),
  semver_lt: ordered(readVersion, (actual, expected) => compare(actual, expected) < 0),
  semver_lte: ordered(readVersion, (actual, expected) => compare(actual, expected) <= 0),
  before: ordered(readMoment, (actual, expected) => actual < expected),
  after: ordered(readMoment, (actual, expected) => actual > expected),
  in_cidr: network
}

const negatives: ReadonlySet<string> = new Set<Operator>(['ne', 'not_in', 'not_contains'])

export function compileComparison ({ operator, value, ignoreCase = false }: Condition): Comparison {
  if (!Object.hasOwn(comparisons, operator)) throw new Unevaluable(`this version does not know the operator ${JSON.stringify(operator)}`)
  const compiled = comparisons[operator as keyof typeof comparisons](value, ignoreCase === true)
  return { ...(typeof compiled === 'function' ? { match: compiled } : compiled), negative: negatives.has(operator) }
}

function scalarOf (expected: unknown): Scalar {
  if (typeof expected === 'string' || typeof expected === 'number' || typeof expected === 'boolean') return expected
  throw unreadable(expected)
}

function listOf (expected: Expected): Scalar[] {
  return Array.isArray(expected) ? expected.map(scalarOf) : [scalarOf(expected)]
}

function membersOf (expected: Expected): Scalar[] {
  if (!Array.isArray(expected)) throw unreadable(expected)
  return expected.map(scalarOf)
}

function unreadable (expected: unknown): Unevaluable {
  return new Unevaluable(`this version cannot compare with ${JSON.stringify(expected)}`)
}

/** Lower case turns a sigma that ends a word into another letter than one inside: that is no difference either. */
function folding (ignoreCase: boolean): (text: string) => string {
  return ignoreCase ? (text) => text.toLowerCase().replaceAll('ς', 'σ') : (text) => text
}

/** One of these: the same number when either side is one, else the same text. A boolean is its text and never a number. */
function among (expected: readonly Scalar[], ignoreCase: boolean): Omit<Comparison, 'negative'> {
  const fold = folding(ignoreCase)
  const texts = new Set(expected.filter((value) => typeof value !== 'number').map((value) => fold(String(value))))
  const numbers = new Set<number | undefined>(expected.filter((value) => typeof value === 'number'))
  const numbersAndNumericTexts = new Set(expected.map(readNumber))
  const match: Match = (value) => {
    if (typeof value === 'number') return Number.isFinite(value) ? numbersAndNumericTexts.has(value) : undefined
    const text = textOf(value)
    return text === undefined ? undefined : texts.has(fold(text)) || (numbers.size > 0 && numbers.has(readNumber(value)))
  }
  return ignoreCase || numbers.size > 0 ? { match } : { match, texts }
}

function beyond ({ above, inclusive }: Omit<Bound, 'number'>): Compile {
  return (value) => {
    const number = readNumber(scalarOf(value))
    if (number === undefined) throw unreadable(value)
    const match: Match = (value) => {
      const actual = readNumber(value)
      return actual === undefined ? undefined : actual === number ? inclusive : (actual > number) === above
    }
    return { match, bound: { number, above, inclusive } }
  }
}

/** Both sides read the same way, and compared. */
function ordered<T> (read: (value: unknown) => T | undefined, holds: (actual: T, expected: T) => boolean): Compile {
  return (value) => {
    const expected = read(value)
    if (expected === undefined) throw unreadable(value)
    return (value) => {
      spend(30) // reading a version or a date takes a microsecond
      const actual = read(value)
      return actual === undefined ? undefined : holds(actual, expected)
    }
  }
}

function compare (actual: SemVer, expected: SemVer): number {
  return actual.compare(expected) // build metadata is no part of the order
}

/** Any of the texts. */
function textual (holds: (actual: string, expected: string) => boolean): Compile {
  return (value, ignoreCase) => {
    const fold = folding(ignoreCase)
    const expected = textsOf(value).map(fold)
    return (value) => {
      const text = readText(value)
      if (text === undefined) return undefined
      spend(expected.length * (1 + stepsOf(text)))
      const actual = fold(text)
      for (let i = 0; i < expected.length; i++) if (holds(actual, expected[i]!)) return true
      return false
    }
  }
}

/** A text, or a date as JSON writes it: numbers and booleans have no beginning and no end. */
function readText (value: unknown): string | undefined {
  return typeof value === 'string' ? value : typeof value === 'object' ? textOf(value) : undefined
}

function textsOf (expected: Expected): string[] {
  return listOf(expected).map((value) => {
    if (typeof value !== 'string') throw unreadable(expected)
    return value
  })
}

function pattern (expected: Expected, ignoreCase: boolean): Match {
  const patterns = textsOf(expected).map((text) => {
    try {
      const pattern = compilePattern(text, ignoreCase)
      return { pattern, size: pattern.programSize() }
    } catch {
      throw unreadable(expected)
    }
  })
  return (value) => {
    const text = readText(value)
    if (text === undefined) return undefined
    return patterns.some(({ pattern, size }) => {
      spend(size * text.length / 4) // an instruction takes at most about 10 ns for each character, most far less
      return pattern.matcher(text).find() // not test(): that builds an automaton, which can take 100 times as long, and 8 MB
    })
  }
}

/** In any of the ranges. An IPv4 address mapped into IPv6 is that IPv4 address. */
function network (expected: Expected): Match {
  const ranges = new BlockList()
  const list = listOf(expected)
  const count = list.length >> 1 // each is looked at
  for (const text of list) {
    const range = readRange(text)
    if (range === undefined) throw unreadable(expected)
    ranges.addSubnet(range.address, range.prefix, range.family)
  }
  return (value) => {
    const version = typeof value === 'string' && value.length < 100 ? isIP(value) : 0
    spend(count)
    return version === 0 ? undefined : ranges.check(value as string, version === 4 ? 'ipv4' : 'ipv6')
  }
}
