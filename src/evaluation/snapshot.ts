import type { Flag } from '../model/flag.js'
import type { Segment } from '../model/segment.js'
import { compileFlag, type Evaluate } from './compile.js'
import { compileSegment, type Predicate } from './conditions.js'
import { PersistentMap } from './persistent-map.js'

/** What a store says about a document beside the document. `time` is epoch milliseconds of the store's clock. */
export interface Provenance { version: number, time: number, by: string | null }

/** A flag of a snapshot. It is compiled for an environment when that is first asked for. */
export class FlagEntry {
  readonly #evaluators = new Map<string, Evaluate>()

  constructor (readonly key: string, readonly document: Flag, readonly provenance: Provenance) {}

  evaluator (environment: string): Evaluate {
    let evaluate = this.#evaluators.get(environment)
    if (evaluate === undefined) {
      evaluate = compileFlag(this.key, this.document, this.provenance, environment)
      this.#evaluators.set(environment, evaluate)
    }
    return evaluate
  }
}

export class SegmentEntry {
  #predicate: Predicate | undefined

  constructor (readonly key: string, readonly document: Segment, readonly provenance: Provenance) {}

  get predicate (): Predicate {
    return (this.#predicate ??= compileSegment(this.document))
  }
}

/** All flags and segments at one revision: immutable, so whoever holds one gets the same answers for ever. */
export class Snapshot {
  static readonly empty = () => new Snapshot(new PersistentMap(), new PersistentMap())
  readonly #flags: PersistentMap<FlagEntry>
  readonly #segments: PersistentMap<SegmentEntry>

  constructor (flags: PersistentMap<FlagEntry>, segments: PersistentMap<SegmentEntry>) {
    this.#flags = flags
    this.#segments = segments
  }

  flag (key: string): FlagEntry | undefined {
    return this.#flags.get(key)
  }

  segment (key: string): SegmentEntry | undefined {
    return this.#segments.get(key)
  }

  * flags (): IterableIterator<FlagEntry> {
    for (const [, entry] of this.#flags.entries()) yield entry
  }

  * segments (): IterableIterator<SegmentEntry> {
    for (const [, entry] of this.#segments.entries()) yield entry
  }

  with (flags: ReadonlyMap<string, FlagEntry | undefined>, segments: ReadonlyMap<string, SegmentEntry | undefined>): Snapshot {
    return new Snapshot(this.#flags.with(flags), this.#segments.with(segments))
  }
}
