import type { Flag } from '../model/flag.js'
import { environmentOf } from '../model/meaning.js'
import type { Segment } from '../model/segment.js'
import { compileFlag } from './compile.js'
import { compileWhen, type CompiledWhen } from './conditions.js'
import type { Outcome } from './details.js'
import { give, type Served } from './draw.js'
import { failureOf } from './outcomes.js'
import { PersistentMap } from './persistent-map.js'
import type { Subject } from './subject.js'

/** What a store says about a document beside the document. `time` is epoch milliseconds of the store's clock. */
export interface Provenance { version: number, time: number, by: string | null }

// Names of environments may come from callers; a process asks for one, or a few.
const mostEnvironments = 32

/** A flag of a snapshot. It is compiled for an environment when that is first asked for. */
export class FlagEntry {
  #environment: string | undefined
  #served: Served | undefined
  #others: Map<string, Served> | undefined

  constructor (readonly key: string, readonly document: Flag, readonly provenance: Provenance) {}

  /** The flag's answer. Never throws; allocates nothing. Hot: the environment is nearly always the one last asked for. */
  evaluate (subject: Subject): Outcome {
    try {
      return give(subject.environment === this.#environment ? this.#served! : this.#servedIn(subject.environment), subject)
    } catch (error) {
      return failureOf(error)
    }
  }

  #servedIn (environment: string): Served {
    const others = (this.#others ??= new Map())
    let served = others.get(environment)
    if (served === undefined) {
      if (others.size === mostEnvironments) others.clear()
      served = this.#compile(environment)
      others.set(environment, served)
    }
    this.#environment = environment
    return (this.#served = served)
  }

  #compile (environment: string): Served {
    try {
      return compileFlag(this.key, this.document, this.provenance, environment)
    } catch (error) {
      return failureOf(error)
    }
  }
}

/** A segment of a snapshot, compiled when a rule first asks for it. */
export class SegmentEntry {
  #compiled: CompiledWhen | null | undefined

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

  /** Whether all segments are there and can be evaluated, and all that they name: none is missing, cyclic or from a newer version. */
  areUsable (segments: readonly string[]): boolean {
    const known = (this.#usable ??= new Map())
    for (let i = 0; i < segments.length; i++) {
      const segment = segments[i]!
      if (!(known.get(segment) ?? isSound(segment, (key) => this.segment(key)?.compiled?.segments, known))) return false
    }
    return true
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

  /** In no particular order; to be read to their end at once. */
  flags (): IterableIterator<FlagEntry> {
    return this.#flags.values()
  }

  segments (): IterableIterator<SegmentEntry> {
    return this.#segments.values()
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
