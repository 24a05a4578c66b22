import { setImmediate as turn } from 'node:timers/promises'
import { errors, textOf, type FlagsError } from '../errors.js'
import { PersistentMap } from '../evaluation/persistent-map.js'
import { FlagEntry, SegmentEntry, Snapshot } from '../evaluation/snapshot.js'
import { checkFlag, checkSegment, loadFlag, loadSegment, type Checked } from '../model/check.js'
import type { Flag } from '../model/flag.js'
import type { Segment } from '../model/segment.js'
import { piecesOf, type Kind, type Position, type Reading, type StoredDocument } from '../store/store.js'

/** How long a piece of work may hold the event loop before others have their turn; milliseconds. */
const slice = 10

/** How many faults a message tells. */
const mostFaults = 5

/** Flags (and segments) by key, as in a store file. */
export interface Bootstrap { flags: Record<string, Flag>, segments?: Record<string, Segment> }

/** A stored document that cannot be read. `version` is the store's, null when not even that can be read. */
export interface Damage { readonly version: number | null, readonly error: FlagsError }

/** What is known of a store: where it stood, what that makes, and what of it (by `kind:key`) could not be read. */
export interface Known {
  readonly position: Position | undefined
  readonly snapshot: Snapshot
  readonly damage: ReadonlyMap<string, Damage>
}

/** The keys whose documents changed, appeared or went. */
export interface Touched { readonly flag: Set<string>, readonly segment: Set<string> }

type Everything = Extract<Reading, { kind: 'everything' }>
type Changes = Extract<Reading, { kind: 'changes' }>
type Entry = FlagEntry | SegmentEntry
type Named = Pick<StoredDocument, 'kind' | 'key'>

/** What is known before a store first answers. Throws INVALID_OPTION with every field that is at fault. */
export function bootstrapped ({ flags = {}, segments = {} }: Partial<Bootstrap> = {}): Known {
  const provenance = { version: 0, time: 0, by: null }
  const entries = { flag: new Map<string, FlagEntry>(), segment: new Map<string, SegmentEntry>() }
  const others = {
    flag: (key: string) => own(flags, key),
    segment: (key: string) => own(segments, key),
    layer: (name: string) => [...entries.flag.values()].flatMap(({ outline }) => outline.memberships).filter(({ layer }) => layer === name)
  }
  const faults: string[] = []
  for (const [key, document] of Object.entries(flags)) {
    const checked = checkFlag(key, document, others)
    if ('value' in checked) put(entries, new FlagEntry(key, checked.value, provenance))
    else faults.push(...checked.details.map(({ path, message }) => `/flags/${key}${path} ${message}`))
  }
  for (const [key, document] of Object.entries(segments)) {
    const checked = checkSegment(key, document, others)
    if ('value' in checked) put(entries, new SegmentEntry(key, checked.value, provenance))
    else faults.push(...checked.details.map(({ path, message }) => `/segments/${key}${path} ${message}`))
  }
  if (faults.length > 0) throw new errors.INVALID_OPTION(`fastify-flags: the option bootstrap is not valid: ${faults.slice(0, mostFaults).join('; ')}`)
  return { position: undefined, snapshot: new Snapshot(new PersistentMap(entries.flag), new PersistentMap(entries.segment)), damage: new Map() }
}

function own<T> (documents: Record<string, T>, key: string): T | undefined {
  return Object.hasOwn(documents, key) ? documents[key] : undefined
}

/** What is known after a full reading. A document written no later than the one known is not parsed again and stays compiled. */
export async function loaded (known: Known, reading: Everything, touched: Touched): Promise<Known> {
  const rest = pace()
  const { snapshot } = known
  const entries = { flag: new Map<string, FlagEntry>(), segment: new Map<string, SegmentEntry>() }
  const damage = new Map<string, Damage>()
  // After a loss a version may stand for another document than the one known by it.
  const versionsHold = !reading.lost && known.position?.epoch === reading.position.epoch

  for await (const piece of piecesOf(reading)) {
    for (const stored of piece) {
      const due = rest()
      if (due !== undefined) await due
      const { kind, key } = stored
      const before = lookUp(snapshot, kind, key)
      const same = before !== undefined && isSameWrite(before, stored) && (versionsHold || before.text === stored.document)
      let entry = before
      if (!same) {
        try {
          entry = entryOf(stored, stored.document)
        } catch (error) {
          damage.set(nameOf(stored), damageOf(stored, stored.version, error, before))
        }
      }
      if (entry !== undefined) put(entries, entry)
      if (entry !== before) touched[kind].add(key)
    }
  }
  for (const { kind, key } of reading.damaged) {
    const before = lookUp(snapshot, kind, key)
    if (before === undefined) entries[kind].delete(key) // it may have been read too, before or after it was damaged
    else put(entries, before)
    damage.set(nameOf({ kind, key }), damageOf({ kind, key }, null, 'its stored form is damaged', before))
  }
  for (const { key } of snapshot.flags()) {
    const due = rest()
    if (due !== undefined) await due
    if (!entries.flag.has(key)) touched.flag.add(key)
  }
  for (const { key } of snapshot.segments()) if (!entries.segment.has(key)) touched.segment.add(key)
  return {
    position: reading.position,
    snapshot: new Snapshot(new PersistentMap(entries.flag), new PersistentMap(entries.segment)),
    damage
  }
}

/** What is known after some log entries; those that are no newer than what is known of their document say nothing new. */
export async function followed (known: Known, { position, changes }: Changes, touched: Touched): Promise<Known> {
  if (changes.length === 0) return { ...known, position }
  const rest = pace()
  const updates = { flag: new Map<string, FlagEntry | undefined>(), segment: new Map<string, SegmentEntry | undefined>() }
  const damage = new Map(known.damage)
  for (const change of changes) {
    const due = rest()
    if (due !== undefined) await due
    if (change.kind === 'store') continue
    const { kind, key, version, document } = change
    const before = updates[kind].has(key) ? updates[kind].get(key) : lookUp(known.snapshot, kind, key)
    if (version <= (before?.provenance.version ?? 0) || version <= (damage.get(nameOf(change))?.version ?? 0)) continue
    damage.delete(nameOf(change))
    try {
      if (document === null) updates[kind].set(key, undefined)
      else put(updates, entryOf(change, document))
      touched[kind].add(key)
    } catch (error) {
      damage.set(nameOf(change), damageOf(change, version, error, before))
    }
  }
  return { position, snapshot: known.snapshot.with(updates.flag, updates.segment), damage }
}

/** Throws with what is wrong when the document cannot be read. */
function entryOf ({ kind, key, version, time, by }: Omit<StoredDocument, 'document'>, document: string): Entry {
  const provenance = { version, time, by }
  return kind === 'flag'
    ? new FlagEntry(key, valueOf(loadFlag(document)), provenance, document)
    : new SegmentEntry(key, valueOf(loadSegment(document)), provenance, document)
}

function valueOf<T> (read: Checked<T>): T {
  if ('value' in read) return read.value
  throw new Error(read.details.slice(0, mostFaults).map(({ path, message }) => `${path} ${message}`.trim()).join('; '))
}

function put (entries: { flag: Map<string, FlagEntry | undefined>, segment: Map<string, SegmentEntry | undefined> }, entry: Entry): void {
  if (entry instanceof FlagEntry) entries.flag.set(entry.key, entry)
  else entries.segment.set(entry.key, entry)
}

function lookUp (snapshot: Snapshot, kind: Kind, key: string): Entry | undefined {
  return kind === 'flag' ? snapshot.flag(key) : snapshot.segment(key)
}

function isSameWrite ({ provenance }: Entry, { version, time, by }: StoredDocument): boolean {
  return provenance.version === version && provenance.time === time && provenance.by === by
}

function damageOf ({ kind, key }: Named, version: number | null, why: unknown, lastGood: Entry | undefined): Damage {
  const kept = lastGood === undefined ? 'it is not served' : `its last good value, version ${lastGood.provenance.version}, is served`
  return { version, error: new errors.DAMAGED_DOCUMENT(`${kind} ${key}`, typeof why === 'string' ? why : textOf(why), kept) }
}

function nameOf ({ kind, key }: Named): string {
  return `${kind}:${key}`
}

/** All that a snapshot holds, as a store keeps it. */
export function * heldDocuments (snapshot: Snapshot): Generator<StoredDocument> {
  const [flags, segments] = [[...snapshot.flags()], [...snapshot.segments()]] // of one moment
  for (const { key, text, provenance } of segments) yield { kind: 'segment', key, ...provenance, document: text }
  for (const { key, text, provenance } of flags) yield { kind: 'flag', key, ...provenance, document: text }
}

/** Asked between pieces of work: a promise to wait for when the event loop was held for long enough. */
export function pace (): () => Promise<void> | undefined {
  let begun = performance.now()
  return () => performance.now() - begun < slice ? undefined : turn().then(() => { begun = performance.now() })
}
