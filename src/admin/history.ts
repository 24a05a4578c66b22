import type { FlagEntry, Provenance } from '../evaluation/snapshot.js'
import type { Flag } from '../model/flag.js'
import type { Kind, Store } from '../store/store.js'
import { defaultLimit, maxLimit } from './page.js'

/** Versions below `before`, the newest first, at most `limit` (1 to 1,000; 50 unless given). */
export interface HistoryRange { before?: number, limit?: number }

/** One version of a flag; `flag` null where it was deleted. Times are ISO strings. */
export interface FlagVersion { version: number, updatedAt: string, updatedBy?: string, flag: Flag | null }

/** `next` is the `before` of the following page; `beginsAt` the oldest version that the store's log still holds (of anything), 0 when it is empty. */
export interface FlagHistory { history: FlagVersion[], next?: number, beginsAt: number }

export interface ChangesQuery extends HistoryRange {
  /** Versions above this one, the oldest first: to follow what happens. */
  after?: number
}

/** A change of a flag or segment; or of kind `store`, what happened to all of them, with the event's own `details`. */
export interface ChangeRecord { version: number, kind: Kind | 'store', key: string, deleted: boolean, details?: unknown, updatedAt: string, updatedBy?: string }

/** `next` is the `before`, or when following the `after`, of the following page; when following it is always there. */
export interface Changes { changes: ChangeRecord[], next?: number, beginsAt: number }

export async function historyOf (store: Store, key: string, { before, limit }: HistoryRange): Promise<FlagHistory> {
  const { changes, more, beginsAt } = await read(store, { kind: 'flag', key, before }, limit)
  return {
    history: changes.map((change) => ({ ...kept(change), flag: change.document === null ? null : JSON.parse(change.document) })),
    next: more ? changes.at(-1)!.version : undefined,
    beginsAt
  }
}

/** The version of a flag that is served. */
export function versionOf ({ document, provenance }: FlagEntry): FlagVersion {
  return { ...kept(provenance), flag: JSON.parse(JSON.stringify(document)) }
}

export async function changesOf (store: Store, { before, after, limit }: ChangesQuery): Promise<Changes> {
  const { changes, more, beginsAt } = await read(store, { before, after }, limit)
  const last = changes.at(-1)?.version
  return {
    changes: changes.map((change) => {
      const { kind, key, document } = change
      if (kind !== 'store') return { ...kept(change), kind, key, deleted: document === null }
      return { ...kept(change), kind, key, deleted: false, details: document === null ? undefined : JSON.parse(document) }
    }),
    next: after === undefined ? (more ? last : undefined) : last ?? after,
    beginsAt
  }
}

async function read (store: Store, query: { kind?: Kind, key?: string, before?: number, after?: number }, limit = defaultLimit) {
  const wanted = Math.min(Math.max(1, limit), maxLimit)
  const { changes, beginsAt } = await store.history({ ...query, limit: wanted + 1 })
  return { changes: changes.slice(0, wanted), more: changes.length > wanted, beginsAt }
}

function kept ({ version, time, by }: Provenance): { version: number, updatedAt: string, updatedBy?: string } {
  return { version, updatedAt: new Date(time).toISOString(), updatedBy: by ?? undefined }
}
