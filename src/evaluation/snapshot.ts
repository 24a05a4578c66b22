import { isDeepStrictEqual } from 'node:util'
import type { EvaluationContext } from '../model/context.js'
import type { Flag } from '../model/flag.js'
import { environmentOf } from '../model/meaning.js'
import type { Member } from '../model/layer.js'
import type { Segment } from '../model/segment.js'
import type { Beginning } from './boundaries.js'
import { compileFlag } from './compile.js'
import { compileWhen, type CompiledWhen, type Segments } from './conditions.js'
import { depthOf } from './depth.js'
import type { Outcome } from './details.js'
import { give, type Served } from './draw.js'
import { begin, isWithin, TooMuch } from './effort.js'
import { mostEnvironments } from './environments.js'
import { Layers } from './layers.js'
import { failureOf, retold } from './outcomes.js'
import { outlineOf, type Outline } from './outline.js'
import { PersistentMap } from './persistent-map.js'
import type { Subject } from './subject.js'

/** What a store says about a document beside the document. `time` is epoch milliseconds of the store's clock. */
export interface Provenance { version: number, time: number, by: string | null }

/**
 * A document of a snapshot. One that comes with its text is parsed again when it is first asked for: until then it is a text,
 * which of many flags that nobody asks for is less than half.
 */
class Entry<D> {
  readonly key: string
  readonly provenance: Provenance
  #document: D | undefined
  #text: string | undefined

  constructor (key: string, document: D, provenance: Provenance, text?: string) {
    this.key = key
    this.provenance = provenance
    this.#text = text
    this.#document = text === undefined ? document : undefined
  }

  get document (): D {
    return (this.#document ??= JSON.parse(this.#text!) as D)
  }

  get text (): string {
    return (this.#text ??= JSON.stringify(this.#document))
  }
}

/** A flag of a snapshot. It is compiled for an environment when that is first asked for. */
export class FlagEntry extends Entry<Flag> {
  readonly outline: Outline
  #environment: string | undefined
  #served: Served | undefined
  #others: Map<string, Served> | undefined
  /** What is served in all environments that the flag treats alike. */
  #common: Served | undefined

  constructor (key: string, document: Flag, provenance: Provenance, text?: string) {
    super(key, document, provenance, text)
    this.outline = outlineOf(key, document)
  }

  get public (): boolean {
    return this.outline.public
  }

  /** The flag's answer. Never throws; allocates nothing. Hot: the environment is nearly always the one last asked for. */
  evaluate (subject: Subject): Outcome {
    begin()
    try {
      return give(subject.environment === this.#environment ? this.#served! : this.#servedIn(subject.environment), subject)
    } catch (error) {
      if (error instanceof TooMuch && isWithin()) throw error // it is not this flag's alone
      return failureOf(error)
    }
  }

  #servedIn (environment: string): Served {
    const others = (this.#others ??= new Map())
    let served = others.get(environment)
    if (served === undefined) {
      if (others.size === mostEnvironments) others.clear()
      if (this.#tells(environment)) served = this.#compile(environment)
      else served = this.#common === undefined ? this.#common = this.#compile(environment) : retold(this.#common, environment)
      others.set(environment, served)
    }
    this.#environment = environment
    return (this.#served = served)
  }

  /** Whether the environment makes a difference. Names that callers made up do not: they must not cost a compilation each. */
  #tells (environment: string): boolean {
    const { environments, experiment } = this.document
    return environments === undefined ? experiment !== undefined : Object.hasOwn(environments, environment)
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
export class SegmentEntry extends Entry<Segment> {
  #compiled: CompiledWhen | null | undefined

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
export class Snapshot implements Segments {
  static readonly empty = () => new Snapshot(new PersistentMap(), new PersistentMap())
  readonly #flags: PersistentMap<FlagEntry>
  readonly #segments: PersistentMap<SegmentEntry>
  #segmentDepths: Map<string, number> | undefined
  #prerequisiteDepths: Map<string, Map<string, number>> | undefined
  #scheduled: PersistentMap<readonly Beginning[]> | undefined
  #beginnings: readonly Beginning[] | undefined
  #memberships: PersistentMap<readonly Member[]> | undefined
  #layers: Layers | undefined
  #guarded: PersistentMap<readonly true[]> | undefined
  #hasGuards: boolean | undefined

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

  /** The most steps that segments lead on to further segments; Infinity when any is missing, leads back to itself or is from a newer version. */
  segmentDepth (segments: readonly string[]): number {
    const known = (this.#segmentDepths ??= new Map())
    let most = 0
    for (let i = 0; i < segments.length; i++) {
      const segment = segments[i]!
      const depth = known.get(segment) ?? depthOf(segment, (key) => this.segment(key)?.compiled?.segments, known)
      if (depth > most) most = depth
    }
    return most
  }

  isIn (segment: string, context: EvaluationContext): boolean {
    return this.segment(segment)!.compiled!.test(context, this)
  }

  /** 0 for a flag without prerequisites, else one more than the most of theirs; Infinity when it or any of them is missing, or leads back to it. */
  prerequisiteDepth (flag: string, environment: string): number {
    const environments = (this.#prerequisiteDepths ??= new Map())
    let known = environments.get(environment)
    if (known === undefined) {
      if (environments.size === mostEnvironments) environments.clear()
      environments.set(environment, known = new Map())
    }
    return known.get(flag) ?? depthOf(flag, (key) => this.prerequisites(key, environment), known)
  }

  /** The flags that a flag needs in an environment; undefined when there is no such flag. */
  prerequisites (flag: string, environment: string): string[] | undefined {
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

  /** Every stage that begins by the clock, sorted by time: the same list as long as no change touches one. */
  get beginnings (): readonly Beginning[] {
    this.#scheduled ??= noted(this.#flags.values(), beginningsIn)
    return (this.#beginnings ??= [...this.#scheduled.values()].flat().sort((a, b) => a.at - b.at))
  }

  /** Which experiments share units: the same as long as no change touches that. */
  get layers (): Layers {
    return (this.#layers ??= new Layers([...(this.#memberships ??= noted(this.#flags.values(), membershipsIn)).values()].flat()))
  }

  /** Whether any rollout, of whatever environment, has a guard. Hot: each request asks. */
  get hasGuards (): boolean {
    return (this.#hasGuards ??= (this.#guarded ??= noted(this.#flags.values(), guardsIn)).values().next().done !== true)
  }

  with (flags: ReadonlyMap<string, FlagEntry | undefined>, segments: ReadonlyMap<string, SegmentEntry | undefined>): Snapshot {
    const next = new Snapshot(this.#flags.with(flags), this.#segments.with(segments))
    next.#scheduled = this.#scheduled && notedAfter(flags, this.#scheduled, beginningsIn)
    if (next.#scheduled === this.#scheduled) next.#beginnings = this.#beginnings
    next.#memberships = this.#memberships && notedAfter(flags, this.#memberships, membershipsIn)
    if (next.#memberships === this.#memberships) next.#layers = this.#layers
    next.#guarded = this.#guarded && notedAfter(flags, this.#guarded, guardsIn)
    return next
  }
}

const beginningsIn = ({ beginnings }: Outline) => beginnings
const membershipsIn = ({ memberships }: Outline) => memberships
const guardsIn = ({ isGuarded }: Outline): readonly true[] => isGuarded ? [true] : []

/** What few outlines tell of their flags, by flag. */
function noted<T> (flags: Iterable<FlagEntry>, partOf: (outline: Outline) => readonly T[]): PersistentMap<readonly T[]> {
  const told = new Map<string, readonly T[]>()
  for (const { key, outline } of flags) if (partOf(outline).length > 0) told.set(key, partOf(outline))
  return new PersistentMap(told)
}

/** The same after a change, at the cost of the change; the very same where it tells nothing new. */
function notedAfter<T> (flags: ReadonlyMap<string, FlagEntry | undefined>, before: PersistentMap<readonly T[]>, partOf: (outline: Outline) => readonly T[]): PersistentMap<readonly T[]> {
  const updates = new Map<string, readonly T[] | undefined>()
  for (const [key, entry] of flags) {
    const told = entry !== undefined && partOf(entry.outline).length > 0 ? partOf(entry.outline) : undefined
    if (!isDeepStrictEqual(told, before.get(key))) updates.set(key, told)
  }
  return before.with(updates)
}
