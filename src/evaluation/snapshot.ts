import type { Flag } from '../model/flag.js'
import { environmentOf } from '../model/meaning.js'
import type { Segment } from '../model/segment.js'
import { compileFlag, type Evaluate } from './compile.js'
import { compileWhen, type CompiledWhen } from './conditions.js'
import { PersistentMap } from './persistent-map.js'

/** What a store says about a document beside the document. `time` is epoch milliseconds of the store's clock. */
export interface Provenance { version: number, time: number, by: string | null }

// Names of environments may come from callers; a process asks for one, or a few.
const mostEnvironments = 32

/** A flag of a snapshot. It is compiled for an environment when that is first asked for. */
export class FlagEntry {
  #environment: string | undefined
  #evaluate: Evaluate | undefined
  #others: Map<string, Evaluate> | undefined

  constructor (readonly key: string, readonly document: Flag, readonly provenance: Provenance) {}

  /** Hot: nearly always the environment last asked for. */
  evaluator (environment: string): Evaluate {
    return environment === this.#environment ? this.#evaluate! : this.#switchTo(environment)
  }

  #switchTo (environment: string): Evaluate {
    const others = (this.#others ??= new Map())
    let evaluate = others.get(environment)
    if (evaluate === undefined) {
      if (others.size === mostEnvironments) others.clear()
      evaluate = compileFlag(this.key, this.document, this.provenance, environment)
      others.set(environment, evaluate)
    }
    this.#environment = environment
    return (this.#evaluate = evaluate)
  }
}

export class SegmentEntry {
  #compiled: CompiledWhen | null | undefined
  #problem: string | undefined

  constructor (readonly key: string, readonly document: Segment, readonly provenance: Provenance) {}

  /** Null when it holds what this version cannot evaluate. */
  get compiled (): CompiledWhen | null {
    if (this.#compiled === undefined) {
      try {
        this.#compiled = compileWhen(this.document.when)
      } catch {
        this.#compiled = null
      }
    }
    return this.#compiled
  }
}

/** All flags and segments at one revision: immutable, so whoever holds one gets the same answers for ever. */
export class Snapshot {
  static readonly empty = () => new Snapshot(new PersistentMap(), new PersistentMap())
  readonly #flags: PersistentMap<FlagEntry>
  readonly #segments: PersistentMap<SegmentEntry>
  #usable: Map<string, boolean> | undefined
  #answerable: Map<string, Map<string, boolean>> | undefined

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

  /** Whether a segment is there and can be evaluated, and so can all that it names: none is missing, cyclic or from a newer version. */
  isUsable (segment: string): boolean {
    const known = (this.#usable ??= new Map())
    return known.get(segment) ?? isSound(segment, (key) => this.segment(key)?.compiled?.segments, known)
  }

  /** Whether a flag is there and so are all its prerequisites, and theirs, none of them cyclic. */
  isAnswerable (flag: string, environment: string): boolean {
    const environments = (this.#answerable ??= new Map())
    let known = environments.get(environment)
    if (known === undefined) {
      if (environments.size === mostEnvironments) environments.clear()
      environments.set(environment, known = new Map())
    }
    return known.get(flag) ?? isSound(flag, (key) => this.#prerequisites(key, environment), known)
  }

  #prerequisites (flag: string, environment: string): string[] | undefined {
    const entry = this.flag(flag)
    return entry && (environmentOf(entry.document, environment)?.prerequisites ?? []).map(({ flag }) => flag)
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

/** Whether all ways on from a key end, and nothing on them is missing. `known` keeps the answers. */
function isSound (key: string, next: (key: string) => readonly string[] | undefined, known: Map<string, boolean>): boolean {
  let sound = known.get(key)
  if (sound === undefined) {
    known.set(key, false) // so that a way that comes back here is not sound
    sound = next(key)?.every((key) => isSound(key, next, known)) ?? false
    known.set(key, sound)
  }
  return sound
}
