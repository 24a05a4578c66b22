import type { Condition, When } from '../model/condition.js'
import type { EvaluationContext } from '../model/context.js'
import type { JsonValue } from '../model/json.js'
import { reader } from './attributes.js'
import { holds, isThere, nodeOf } from './conditions.js'
import { TooMuch } from './effort.js'
import { compileComparison } from './operators.js'
import type { Snapshot } from './snapshot.js'

/** Whether a part of a `when` holds; null when this version cannot evaluate it, and then whatever holds it does not match. */
interface Judged { matched: boolean | null, why?: string }

/** A `when`, part by part, each with what came of it. */
export type ExplainedWhen =
  | Judged & { all: ExplainedWhen[] }
  | Judged & { any: ExplainedWhen[] }
  | Judged & { not: ExplainedWhen }
  /** `when` is shown where the segment is first named. */
  | Judged & { segment: string, when?: ExplainedWhen }
  /** `actual` is left out when the attribute is missing. */
  | Judged & { attribute: string, operator: string, value?: JsonValue, ignoreCase?: boolean, actual?: JsonValue }
  | Judged & { unknown: JsonValue }

/** Every part is judged, also where the first ones decide: what cannot be evaluated counts wherever it stands. */
export function explainWhen (when: When, context: EvaluationContext, snapshot: Snapshot, within: readonly string[] = [], shown = new Map<string, boolean | null>()): ExplainedWhen {
  const further = (when: When) => explainWhen(when, context, snapshot, within, shown)
  let node
  try {
    node = nodeOf(when)
  } catch (error) {
    return { unknown: jsonOf(when) ?? null, matched: null, why: (error as Error).message }
  }
  switch (node.kind) {
    case 'all': {
      const all = node.nodes.map(further)
      return { all, matched: isJudged(all) ? all.every(({ matched }) => matched) : null }
    }
    case 'any': {
      const any = node.nodes.map(further)
      return { any, matched: isJudged(any) ? any.some(({ matched }) => matched) : null }
    }
    case 'not': {
      const not = further(node.node)
      return { not, matched: isJudged([not]) ? !not.matched : null }
    }
    case 'segment': return explainSegment(node.key, context, snapshot, within, shown)
    case 'condition': return explainCondition(node.condition, context)
  }
}

function isJudged (parts: ExplainedWhen[]): boolean {
  return parts.every(({ matched }) => matched !== null)
}

function explainSegment (segment: string, context: EvaluationContext, snapshot: Snapshot, within: readonly string[], shown: Map<string, boolean | null>): ExplainedWhen {
  const known = shown.get(segment)
  if (known !== undefined) return { segment, matched: known }
  if (within.includes(segment)) return { segment, matched: null, why: `the segment holds itself: ${[...within, segment].join(' → ')}` }
  const entry = snapshot.segment(segment)
  if (entry === undefined) return { segment, matched: null, why: 'there is no such segment' }
  const when = explainWhen(entry.document.when, context, snapshot, [...within, segment], shown)
  shown.set(segment, when.matched)
  return { segment, when, matched: when.matched }
}

function explainCondition (condition: Condition, context: EvaluationContext): ExplainedWhen {
  const { attribute, operator } = condition
  const value = reader(attribute)(context)
  const explained = { ...condition, ...(isThere(value) && { actual: jsonOf(value) ?? String(value) }) }
  if (operator === 'exists' || operator === 'not_exists') {
    const matched = isThere(value) === (operator === 'exists')
    return { ...explained, matched, ...(!matched && { why: isThere(value) ? 'the attribute is there' : 'the attribute is missing' }) }
  }
  try {
    const comparison = compileComparison(condition)
    if (holds(comparison, value)) return { ...explained, matched: true }
    const isUnreadable = !Array.isArray(value) && comparison.match(value) === undefined
    const why = !isThere(value) ? 'the attribute is missing' : isUnreadable ? `the attribute cannot be read as ${operator} needs` : 'the comparison does not hold'
    return { ...explained, matched: false, why }
  } catch (error) {
    if (error instanceof TooMuch) throw error
    return { ...explained, matched: null, why: (error as Error).message }
  }
}

/** A value of a context as JSON would carry it; undefined when it would not. */
export function jsonOf (value: unknown): JsonValue | undefined {
  try {
    const text = JSON.stringify(value)
    return text === undefined ? undefined : JSON.parse(text)
  } catch {
    return undefined // a cycle, or a bigint
  }
}
