import type { ErrorDetail } from '../errors.js'
import { drawn, segmentCycle, segmentsIn } from './references.js'
import type { Segment } from './segment.js'
import { checkWhen, type Surroundings } from './when-check.js'

/** What the schema cannot say of a segment. */
export function * checkSegmentMeaning (key: string, segment: Segment, around: Surroundings): Generator<ErrorDetail> {
  const { others } = around
  // The segment under check stands in for its stored self, so that one that names itself is a cycle and not a missing one.
  const all = { ...around, others: { ...others, segment: (name: string) => name === key ? segment : others.segment(name) } }
  yield * checkWhen(segment.when, '/when', all)
  for (const { segment: named, path } of segmentsIn(segment.when, '/when')) {
    const cycle = segmentCycle(key, named, others)
    if (cycle !== undefined) yield { path, message: `leads back to this segment (${drawn(cycle)}); leave one of them out` }
  }
}
