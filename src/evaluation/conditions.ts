import type { When } from '../model/condition.js'
import type { Segment } from '../model/segment.js'
import type { Subject } from './subject.js'

export type Predicate = (subject: Subject) => boolean

export function compileWhen (when: When): Predicate {
  return () => false // the thin slice has no rules yet
}

export function compileSegment (segment: Segment): Predicate {
  return compileWhen(segment.when)
}
