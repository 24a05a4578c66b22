import { FlagEntry, SegmentEntry, type Snapshot } from '../evaluation/snapshot.js'
import type { Flag } from '../model/flag.js'
import type { Others } from '../model/references.js'
import type { Segment } from '../model/segment.js'
import type { Kind } from '../store/store.js'

/** What the store and this service keep about a document, beside what people write. Times are ISO strings. */
export interface Kept { key: string, version: number, createdAt?: string, updatedAt: string, updatedBy?: string }

/** A flag as it is stored, with its version: what reads and writes answer. */
export type StoredFlag = Flag & Kept
export type StoredSegment = Segment & Kept

export interface Documents { flag: Flag, segment: Segment }
export type Stored<K extends Kind> = Documents[K] & Kept
export type Entry = FlagEntry | SegmentEntry

export function lookUp (snapshot: Snapshot, kind: Kind, key: string): Entry | undefined {
  return kind === 'flag' ? snapshot.flag(key) : snapshot.segment(key)
}

export function others (snapshot: Snapshot): Others {
  return { flag: (key) => snapshot.flag(key)?.document, segment: (key) => snapshot.segment(key)?.document, layer: (name) => snapshot.layers.members(name) }
}

/** A copy, which its receiver may change: what is served is not touched by it. */
export function present<D extends Flag | Segment> (key: string, document: D, { version, time, by }: { version: number, time: number, by: string | null }): D & Kept {
  return { key, ...JSON.parse(JSON.stringify(document)), version, updatedAt: new Date(time).toISOString(), updatedBy: by ?? undefined } as D & Kept
}

/** A document without what is kept about it: accepted from whoever sends back what was read, and ignored. */
export function withoutKept<D extends Flag | Segment> ({ key, version, createdAt, updatedAt, updatedBy, ...document }: D): Omit<D, keyof Kept> {
  return document
}
