/**
 * A store keeps versioned documents (flags and segments, as JSON text it never looks into) and the log of their changes.
 * It is five methods; what each must do atomically is said here, and `fastify-flags/store-contract` holds any store to it.
 */
export interface Store {
  /**
   * What changed since a position, or everything: when there is no position, or the log does not reach back to it, or the
   * store does not hold that position's history (it was emptied, replaced, or went back in time).
   * Rejects with STORE_UNAVAILABLE when it cannot be read, STORE_DAMAGED when what it holds cannot be understood.
   */
  read (since?: Position): Promise<Reading>

  /**
   * Writes or removes one document. Atomic: the document, its log entry, the new position and the wake-up, or nothing.
   * Rejects with VERSION_CONFLICT when the document is not at `expected`, FOREIGN_EPOCH when the store is not at `epoch`,
   * READ_ONLY, STORE_UNAVAILABLE (not applied) or STORE_UNKNOWN (may have been applied).
   * The same `id` again applies nothing and resolves to the first answer (for a minute at least).
   */
  write (change: Write): Promise<Written>

  /** Calls `wake` after any change, whoever made it, and whenever changes may have been missed. At most one watcher; it may be called once too often. */
  watch (wake: () => void): void

  /** Log entries, newest first; with `after`, oldest first. */
  history (query: HistoryQuery): Promise<History>

  /** Closes all that the store opened; a pending call rejects with STORE_CLOSED. */
  close (): Promise<void>
}

/**
 * A store that may lose everything behind all processes' backs, as a Redis does that is flushed or comes back without its
 * data, and that can be given back what a process still holds.
 */
export interface RestorableStore extends Store {
  /**
   * Puts documents back, versions and all, with a `restored` event. Atomic, and only while the store holds nothing, not even
   * an epoch; or nothing but what was put back from a lower revision, and no write since. `position` is where they were last
   * read. Versions go on well above it, lest one that was lost be used again. Resolves to whether it was done.
   */
  restore (position: Position, documents: Iterable<StoredDocument>): Promise<boolean>

  /** Adds an event to the log, and to nothing else. Rejects with FOREIGN_EPOCH when the store is not at `epoch`. */
  note (event: Pick<StoreEvent, 'key' | 'by' | 'document'>, epoch: string): Promise<void>
}

export function isRestorable (store: Store): store is RestorableStore {
  return 'restore' in store && 'note' in store
}

/** How the epoch of a store begins that was emptied on purpose. */
export const resetEpoch = 'reset:'

export type Kind = 'flag' | 'segment'

/**
 * Where a store stands. `epoch` names one life of the store (null: nothing was ever written); `revision` grows by one
 * with each write; `token` is random and new with each write, so that equal tokens mean equal contents.
 */
export interface Position { epoch: string | null, revision: number, token: string | null }

/** A document as stored. `version` is the revision of its last change, `time` epoch milliseconds of the store's clock. */
export interface StoredDocument { kind: Kind, key: string, version: number, time: number, by: string | null, document: string }

/** A log entry: `version` is its revision; `document` null means removed. */
export interface Change extends Omit<StoredDocument, 'document'> { document: string | null }

/**
 * A log entry of what happened to the store as a whole; no document changes by it. `document` is JSON text that tells more.
 * restored: what a process held was put back, `{ "revision" }` of it. reset: all was removed on purpose.
 * lost: writes that had been acknowledged are gone, `{ "writes": [{ "kind", "key", "version", "by" }] }`.
 */
export interface StoreEvent extends Omit<Change, 'kind' | 'key'> { kind: 'store', key: 'restored' | 'reset' | 'lost' }

/** `time` is the store's clock at the reading, epoch milliseconds. */
export type Reading =
  | { kind: 'changes', position: Position, time: number, changes: Array<Change | StoreEvent> }
  /**
   * All documents, in one list or in pieces that are read as they are asked for (and may come twice; asking may reject as `read`
   * does). They may already hold changes later than `position`: read again from it and skip what is not newer.
   * `lost` is set when a position was given and the store no longer holds its history, other than by trimming its log.
   * `damaged` names, once the pieces are at their end, documents whose stored form cannot be read; their last good value should be kept.
   */
  | { kind: 'everything', position: Position, time: number, documents: StoredDocument[] | AsyncIterable<StoredDocument[]>, damaged: Array<{ kind: Kind, key: string }>, lost: boolean }

/** The documents of a full reading in pieces, however the store gives them. */
export function piecesOf ({ documents }: Extract<Reading, { kind: 'everything' }>): Iterable<StoredDocument[]> | AsyncIterable<StoredDocument[]> {
  return Array.isArray(documents) ? [documents] : documents
}

export interface Write {
  kind: Kind
  key: string
  /** JSON text, or null to remove. */
  document: string | null
  /** The version the document must have; 0 when it must not exist. */
  expected: number
  /** The epoch the writer last read. With null the store must never have been written to, and begins an epoch. */
  epoch: string | null
  /** Who changes it, for the log. */
  by: string | null
  /** Random, the same again when a write is retried. */
  id: string
}

export interface Written { version: number, time: number }

/** Of one document (`kind` and `key`), or of all. `before` and `after` are revisions, exclusive; `after` gives oldest first. */
export interface HistoryQuery { kind?: Kind, key?: string, before?: number, after?: number, limit: number }

/** `beginsAt` is the oldest revision the log still holds, 0 when it is empty. */
export interface History { changes: Array<Change | StoreEvent>, beginsAt: number }
