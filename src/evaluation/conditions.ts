import type { Condition, When } from '../model/condition.js'
import type { EvaluationContext } from '../model/context.js'
import { isPlain, reader } from './attributes.js'
import { spend } from './effort.js'
import { compileComparison, Unevaluable, type Comparison } from './operators.js'
import type { Snapshot } from './snapshot.js'

/** Tells who is in a segment. */
export interface Segments { isIn (segment: string, context: EvaluationContext): boolean }

export type Predicate = (context: EvaluationContext, segments: Segments) => boolean

/** A compiled `when`. It may be asked only where each of its segments is usable. */
export interface CompiledWhen { readonly test: Predicate, readonly segments: readonly string[] }

/** Asks each segment once about one context: many ways may lead to one, twice as many at each further step. */
class AskedOnce implements Segments {
  readonly #known = new Map<string, boolean>()
  readonly #snapshot: Snapshot

  constructor (snapshot: Snapshot) {
    this.#snapshot = snapshot
  }

  isIn (segment: string, context: EvaluationContext): boolean {
    let isIn = this.#known.get(segment)
    if (isIn === undefined) this.#known.set(segment, isIn = this.#snapshot.segment(segment)!.compiled!.test(context, this))
    return isIn
  }
}

export type Matches = (context: EvaluationContext, snapshot: Snapshot) => boolean

/** Whether a `when` matches; never where any of its segments is not usable. */
export function whereUsable ({ test, segments }: CompiledWhen): Matches {
  if (segments.length === 0) return test
  return (context, snapshot) => {
    const depth = snapshot.segmentDepth(segments)
    return depth !== Infinity && test(context, depth > 1 ? new AskedOnce(snapshot) : snapshot)
  }
}

/** Throws Unevaluable when the whole holds anything this version cannot evaluate, wherever that stands. */
export function compileWhen (when: When): CompiledWhen {
  const named = new Set<string>()
  const test = compileNode(when, named)
  return { test, segments: [...named] }
}

function compileNode (when: When, named: Set<string>): Predicate {
  const node = nodeOf(when)
  switch (node.kind) {
    case 'all': return all(node.nodes.map((when) => compileNode(when, named)))
    case 'any': return any(node.nodes.map((when) => compileNode(when, named)))
    case 'not': {
      const test = compileNode(node.node, named)
      return (context, segments) => !test(context, segments)
    }
    case 'segment': {
      const { key } = node
      named.add(key)
      return (context, segments) => segments.isIn(key, context)
    }
    case 'condition': return compileCondition(node.condition)
  }
}

type Node =
  | { kind: 'all' | 'any', nodes: When[] }
  | { kind: 'not', node: When }
  | { kind: 'segment', key: string }
  | { kind: 'condition', condition: Condition }

const conditionFields: ReadonlySet<string> = new Set(['attribute', 'operator', 'value', 'ignoreCase'])

/** Which of its five forms a node has. Throws Unevaluable for any other: a newer version may have written it. */
export function nodeOf (when: When): Node {
  const fields = typeof when === 'object' && when !== null ? Object.keys(when) : []
  const [field] = fields
  if (fields.length === 1) {
    if ('all' in when && isFilledList(when.all)) return { kind: 'all', nodes: when.all }
    if ('any' in when && isFilledList(when.any)) return { kind: 'any', nodes: when.any }
    if ('not' in when) return { kind: 'not', node: when.not }
    if ('segment' in when && typeof when.segment === 'string') return { kind: 'segment', key: when.segment }
  }
  if (field !== undefined && 'attribute' in when && typeof when.attribute === 'string' && fields.every((field) => conditionFields.has(field))) {
    return { kind: 'condition', condition: when }
  }
  throw new Unevaluable(`a condition with ${field === undefined ? 'nothing in it' : `the fields ${fields.join(', ')}`} is not known to this version`)
}

function isFilledList (value: unknown): boolean {
  return Array.isArray(value) && value.length > 0
}

function all (tests: Predicate[]): Predicate {
  const [first, second, third] = tests
  if (tests.length === 1) return first!
  if (tests.length === 2) return (context, segments) => first!(context, segments) && second!(context, segments)
  if (tests.length === 3) return (context, segments) => first!(context, segments) && second!(context, segments) && third!(context, segments)
  return (context, segments) => {
    for (let i = 0; i < tests.length; i++) if (!tests[i]!(context, segments)) return false
    return true
  }
}

function any (tests: Predicate[]): Predicate {
  if (tests.length === 1) return tests[0]!
  return (context, segments) => {
    for (let i = 0; i < tests.length; i++) if (tests[i]!(context, segments)) return true
    return false
  }
}

function compileCondition (condition: Condition): Predicate {
  const { attribute } = condition
  const read = reader(attribute)
  if (condition.operator === 'exists') return (context) => isThere(read(context))
  if (condition.operator === 'not_exists') return (context) => !isThere(read(context))
  const comparison = compileComparison(condition)
  return isPlain(attribute) ? comparePlain(attribute, comparison) : (context) => holds(comparison, read(context))
}

/** Hot: reads and compares in one closure where it can. */
function comparePlain (attribute: string, comparison: Comparison): Predicate {
  const { negative, texts, bound } = comparison
  if (texts?.size === 1) { // comparing costs less than looking up
    const [text] = texts
    return (context) => {
      const value = context[attribute]
      return typeof value === 'string' ? (value === text) !== negative : holds(comparison, value)
    }
  }
  if (texts !== undefined) {
    return (context) => {
      const value = context[attribute]
      return typeof value === 'string' ? texts.has(value) !== negative : holds(comparison, value)
    }
  }
  if (bound !== undefined) {
    const { number, above, inclusive } = bound
    return (context) => {
      const value = context[attribute]
      if (typeof value !== 'number') return holds(comparison, value)
      return value === number ? inclusive : (value > number) === above && Number.isFinite(value)
    }
  }
  return (context) => holds(comparison, context[attribute])
}

export function isThere (value: unknown): boolean {
  return value !== undefined && value !== null
}

/** Whether a condition holds for an attribute: a list when any element matches, or, where the operator is negative, when none does. */
export function holds ({ match, negative }: Comparison, value: unknown): boolean {
  if (Array.isArray(value)) {
    spend(value.length)
    return value.some((element) => match(element) === true) !== negative
  }
  return isThere(value) && match(value) === !negative
}
