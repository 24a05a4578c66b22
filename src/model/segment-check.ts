import type { ErrorDetail } from '../errors.js'
import { segmentCycle, segmentsIn, type Others } from './references.js'
import type { Segment } from './segment.js'
import { checkWhen, type Sound } from './when-check.js'

/** What the schema cannot say of a segment. `sound` tells which of its parts have the right form. */
export function * checkSegmentMeaning (key: string, segment: Segment, others: Others, sound: Sound): Generator<ErrorDetail> {
  // The segment under check stands in for its stored self, so that one that names itself is a cycle and not a missing one.
  const all: Others = { flag: others.flag, segment: (name) => name === key ? segment : others.segment(name) }
  yield * checkWhen(segment.when, '/when', all, sound)
  for (const { segment: named, path } of segmentsIn(segment.when, '/when')) {
    const cycle = segmentCycle(key, named, others)
    if (cycle !== undefined) yield { path, message: `leads back to this segment (${cycle.join(' → ')}); leave one of them out` }
  }
}
