import type { Outcome } from '../../src/evaluation/details.js'
import { PersistentMap } from '../../src/evaluation/persistent-map.js'
import { FlagEntry, SegmentEntry, Snapshot } from '../../src/evaluation/snapshot.js'
import type { Subject } from '../../src/evaluation/subject.js'
import type { Condition, When } from '../../src/model/condition.js'
import type { EvaluationContext } from '../../src/model/context.js'
import type { Flag } from '../../src/model/flag.js'
import type { Segment } from '../../src/model/segment.js'

export interface Documents { flags?: Record<string, Flag>, segments?: Record<string, Segment> }

/** A snapshot of these documents, each at version 7. */
export function snapshotOf ({ flags = {}, segments = {} }: Documents): Snapshot {
  const provenance = { version: 7, time: 0, by: null }
  return new Snapshot(
    new PersistentMap(new Map(Object.entries(flags).map(([key, flag]) => [key, new FlagEntry(key, flag, provenance)]))),
    new PersistentMap(new Map(Object.entries(segments).map(([key, segment]) => [key, new SegmentEntry(key, segment, provenance)])))
  )
}

export function subjectOf (documents: Documents | Snapshot, context: EvaluationContext = {}, { now = 0, environment = 'production' } = {}): Subject {
  return { snapshot: documents instanceof Snapshot ? documents : snapshotOf(documents), context, now, environment }
}

/** What the flag `key` answers. */
export function ask (key: string, subject: Subject): Outcome {
  return subject.snapshot.flag(key)!.evaluate(subject)
}

/** What a flag answers that stands beside `others`. */
export function evaluate (flag: Flag, context: EvaluationContext = {}, options: { now?: number, environment?: string } & Documents = {}): Outcome {
  const { flags, segments } = options
  return ask('flag', subjectOf({ flags: { ...flags, flag }, segments }, context, options))
}

/** Whether a rule with this `when` matches. */
export function matches (when: When, context: EvaluationContext, segments: Record<string, Segment> = {}): boolean {
  const { details } = evaluate({ enabled: true, serve: 'off', rules: [{ when, serve: 'on' }] }, context, { segments })
  return details.flagMetadata.cause === 'rule'
}

/** Whether a condition on the attribute `a` holds. */
export function holds (operator: string, value: unknown, attribute: unknown, more: Partial<Condition> = {}): boolean {
  return matches({ attribute: 'a', operator, value, ...more } as Condition, attribute === undefined ? {} : { a: attribute } as EvaluationContext)
}
