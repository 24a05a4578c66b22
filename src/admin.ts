import { randomUUID } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { accept, invalidDocument } from './admin/accept.js'
import { assertUnneeded, assertVariantsKept, losesVariants } from './admin/dependents.js'
import { lookUp, others, present, type Documents, type Stored, type StoredFlag, type StoredSegment } from './admin/documents.js'
import { changesOf, historyOf, type ChangeRecord, type Changes, type ChangesQuery, type FlagHistory, type HistoryRange } from './admin/history.js'
import { pageOf, type PageOptions } from './admin/page.js'
import { patchFlag, type FlagPatch } from './admin/patch.js'
import { changeTargets, switchFlag, type TargetsChange } from './admin/settings.js'
import { staleness, type Staleness } from './admin/stale.js'
import { exportText, importDocuments, type DocumentSet, type ImportReport } from './admin/transfer.js'
import { errors, isFlagsError } from './errors.js'
import { explain, type Explanation } from './evaluation/explain.js'
import type { FlagEntry } from './evaluation/snapshot.js'
import { toContext, type EvaluationContext } from './model/context.js'
import type { Flag } from './model/flag.js'
import type { Segment } from './model/segment.js'
import type { Replica } from './replica.js'
import type { Kind } from './store/store.js'

export type { ChangeRecord, Changes, ChangesQuery, DocumentSet, FlagHistory, FlagPatch, HistoryRange, ImportReport, PageOptions, Staleness, StoredFlag, StoredSegment, TargetsChange }

/** Who makes a change, and which version it applies to: 0 = there must be none yet, `*` = any, but one, left out = whatever is there. */
export interface ChangeOptions { version?: number | '*', by?: string }

export interface FlagFilter {
  tag?: string
  owner?: string
  /** Part of the key, description, owner or a tag, in any case. */
  q?: string
  /** Milliseconds: only flags that are past their `expiresAt`, or have been fully on or off for so long. */
  stale?: number
}

/** What becomes of a document that is deleted. Not null, which a caller may give as a document. */
const gone = Symbol('gone')
type Decide<K extends Kind> = (current: Documents[K] | undefined) => Documents[K] | typeof gone

/** How often a change without a version is tried again when others changed the document meanwhile. */
const attempts = 10

/**
 * The one service that changes things, whoever asks: HTTP, code, the command line or a file. Each change is checked, written
 * by compare-and-set, served by this process when the promise resolves, and answered as stored. One that would change nothing
 * writes nothing and makes no version, so that repeating a change is harmless and the history tells real ones.
 * Rejects with INVALID_DOCUMENT (with details), VERSION_CONFLICT, FLAG_NOT_FOUND or SEGMENT_NOT_FOUND, IN_USE, NEWER_DOCUMENT,
 * or with why the store cannot be written.
 */
export class Admin {
  readonly #replica: Replica
  readonly #turns = new Map<string, Promise<unknown>>()

  readonly #environment: string

  /** `environment` is the one that `explain` is about unless it is given another. */
  constructor (replica: Replica, environment = 'production') {
    this.#replica = replica
    this.#environment = environment
  }

  /** The flags that match, in the order of their keys; `next` is where the following page begins. */
  list ({ tag, owner, q, stale, ...page }: FlagFilter & PageOptions = {}): { flags: Array<StoredFlag & { stale?: Staleness }>, next?: string } {
    const text = q?.toLowerCase()
    const now = this.#replica.now()
    const matches = (entry: FlagEntry) => {
      const { document } = entry
      return (tag === undefined || document.tags?.includes(tag) === true) &&
        (owner === undefined || document.owner === owner) &&
        (text === undefined || mentions(entry, text)) &&
        (stale === undefined || staleness(entry, now, stale) !== undefined)
    }
    const { entries, next } = pageOf(this.#replica.snapshot.flags(), page, matches)
    return { flags: entries.map((entry) => ({ ...presented<'flag'>(entry), ...stale !== undefined && { stale: staleness(entry, now, stale) } })), next }
  }

  get (key: string): StoredFlag {
    return this.#get('flag', key)
  }

  /** What the flag answers for a context and every step that led there, with the actual values. */
  explain (key: string, context: EvaluationContext = {}, environment: string = this.#environment): Explanation {
    const { snapshot } = this.#replica
    const entry = snapshot.flag(key)
    if (entry === undefined) throw notFound('flag', key)
    return explain(entry, { context: toContext(context), now: this.#replica.now(), snapshot, environment })
  }

  async put (key: string, flag: Flag, options: ChangeOptions = {}): Promise<{ flag: StoredFlag, created: boolean }> {
    const { document, created } = await this.#put('flag', key, flag, options)
    return { flag: document, created }
  }

  /** Replaces each field that the patch names, of the flag and of each environment it names; null removes. Nothing is merged deeper. */
  async patch (key: string, patch: FlagPatch, options: ChangeOptions = {}): Promise<StoredFlag> {
    assertObject('patch', patch)
    return await this.#change('flag', key, { ...options, version: agreedVersion(patch, options) }, (flag) => patchFlag(flag, patch))
  }

  async delete (key: string, options: ChangeOptions = {}): Promise<void> {
    await this.#delete('flag', key, options)
  }

  /** Switches a flag on, as a whole or in one environment, which is created if the flag has others. */
  async enable (key: string, { environment, ...options }: ChangeOptions & { environment?: string } = {}): Promise<StoredFlag> {
    return await this.#change('flag', key, options, (flag) => switchFlag(key, flag, true, environment))
  }

  /** Switches a flag off, as a whole or in one environment, which is created if the flag has others. */
  async disable (key: string, { environment, ...options }: ChangeOptions & { environment?: string } = {}): Promise<StoredFlag> {
    return await this.#change('flag', key, options, (flag) => switchFlag(key, flag, false, environment))
  }

  /** Adds names to a flag's targets and removes names from them. */
  async changeTargets (key: string, change: TargetsChange, options: ChangeOptions = {}): Promise<StoredFlag> {
    return await this.#change('flag', key, options, (flag) => changeTargets(key, flag, change))
  }

  listSegments (page: PageOptions = {}): { segments: StoredSegment[], next?: string } {
    const { entries, next } = pageOf(this.#replica.snapshot.segments(), page, () => true)
    return { segments: entries.map((entry) => presented<'segment'>(entry)), next }
  }

  getSegment (key: string): StoredSegment {
    return this.#get('segment', key)
  }

  async putSegment (key: string, segment: Segment, options: ChangeOptions = {}): Promise<{ segment: StoredSegment, created: boolean }> {
    const { document, created } = await this.#put('segment', key, segment, options)
    return { segment: document, created }
  }

  async deleteSegment (key: string, options: ChangeOptions = {}): Promise<void> {
    await this.#delete('segment', key, options)
  }

  /** A flag's versions, the newest first, also of one that was deleted. */
  async history (key: string, range: HistoryRange = {}): Promise<FlagHistory> {
    const history = await historyOf(this.#replica.store, key, range)
    if (history.history.length === 0 && range.before === undefined && this.#replica.snapshot.flag(key) === undefined) throw new errors.FLAG_NOT_FOUND(key)
    return history
  }

  /** What was changed by whom: the newest first, or with `after` what came after that version, the oldest first. */
  async changes (query: ChangesQuery = {}): Promise<Changes> {
    return await changesOf(this.#replica.store, query)
  }

  /** All flags and segments, as `import` and a store's file take them. */
  async export (): Promise<Required<DocumentSet>> {
    const parts: string[] = []
    for await (const part of this.exportText()) parts.push(part)
    return JSON.parse(parts.join(''))
  }

  /** The same as JSON text, in parts, one document a line: for files and streams, whatever the number of flags. */
  exportText (): AsyncGenerator<string> {
    return exportText(this.#replica.snapshot)
  }

  /** Writes flags and segments: nothing when any of them is not valid, else all that are new or differ. `dryRun` only tells. */
  async import (documents: DocumentSet, { dryRun = false, by }: { dryRun?: boolean, by?: string } = {}): Promise<ImportReport> {
    await this.#synced()
    return await importDocuments(this.#replica, documents, { dryRun, by: by ?? null })
  }

  /** Catches up with the store, so that what follows is decided on what is there now. False when it did not answer. */
  async #synced (): Promise<boolean> {
    const synced = await this.#replica.sync()
    if (this.#replica.status === 'NOT_READY') throw this.#replica.problem ?? new errors.NOT_READY()
    return synced
  }

  #get<K extends Kind> (kind: K, key: string): Stored<K> {
    const entry = lookUp(this.#replica.snapshot, kind, key)
    if (entry === undefined) throw notFound(kind, key)
    return presented<K>(entry)
  }

  async #put<K extends Kind> (kind: K, key: string, document: Documents[K], options: ChangeOptions): Promise<{ document: Stored<K>, created: boolean }> {
    const version = agreedVersion(document, options)
    let created = false
    const stored = await this.#write(kind, key, { ...options, version }, (current) => {
      created = current === undefined
      return document
    })
    return { document: stored!, created }
  }

  async #change<K extends Kind> (kind: K, key: string, options: ChangeOptions, change: (current: Documents[K]) => Documents[K]): Promise<Stored<K>> {
    const stored = await this.#write(kind, key, options, (current) => {
      if (current === undefined) throw notFound(kind, key)
      return change(current)
    })
    return stored!
  }

  async #delete (kind: Kind, key: string, options: ChangeOptions): Promise<void> {
    await this.#write(kind, key, options, () => gone)
  }

  /** Changes of one document made here take turns, so that they compete with those of other processes only. */
  async #write<K extends Kind> (kind: K, key: string, options: ChangeOptions, decide: Decide<K>): Promise<Stored<K> | undefined> {
    const name = `${kind}:${key}`
    const turn = (this.#turns.get(name) ?? Promise.resolve()).then(async () => await this.#compareAndSet(kind, key, options, decide))
    const settled = turn.catch(() => {})
    this.#turns.set(name, settled)
    void settled.then(() => { if (this.#turns.get(name) === settled) this.#turns.delete(name) })
    return await turn
  }

  /** Decides on the current document what becomes of it and writes that, anew if another change came first. */
  async #compareAndSet<K extends Kind> (kind: K, key: string, { version, by }: ChangeOptions, decide: Decide<K>): Promise<Stored<K> | undefined> {
    const replica = this.#replica
    for (let attempt = 1; ; attempt++) {
      const synced = await this.#synced()
      const { epoch } = replica
      const entry = lookUp(replica.snapshot, kind, key)
      const current = entry?.document as Documents[K] | undefined
      const damaged = replica.damagedVersion(kind, key)
      const expected = damaged ?? entry?.provenance.version ?? 0
      const decided = decide(current)
      if (decided === gone && expected === 0) throw notFound(kind, key)
      if (version === '*' ? expected === 0 : version !== undefined && version !== expected) throw conflict(kind, key, expected, version)
      let next: Documents[K] | null = null
      if (decided === gone) {
        assertUnneeded(kind, key, replica.snapshot)
      } else {
        next = this.#accepted(kind, key, decided, current)
        if (entry !== undefined && synced && damaged === undefined && isDeepStrictEqual(next, current)) return presented<K>(entry)
      }
      const document = next === null ? null : JSON.stringify(next)
      try {
        const written = await replica.store.write({ kind, key, document, expected, epoch, by: by ?? null, id: randomUUID() })
        await replica.sync(written.version)
        return document === null ? undefined : present(key, next!, { ...written, by: by ?? null }) as Stored<K>
      } catch (error) {
        // Nothing was known when the epoch was null: somebody else wrote first.
        const overtaken = isFlagsError(error) && (error.code === 'FST_FLAGS_VERSION_CONFLICT' || (error.code === 'FST_FLAGS_FOREIGN_EPOCH' && epoch === null))
        if (!overtaken || attempt === attempts) throw error
      }
    }
  }

  /** The document as it is to be stored. */
  #accepted<K extends Kind> (kind: K, key: string, document: Documents[K], current: Documents[K] | undefined): Documents[K] {
    const { snapshot } = this.#replica
    const accepted = accept(kind, key, document, current, others(snapshot), this.#replica.now())
    if ('details' in accepted) throw invalidDocument(`${kind} ${key}`, accepted.details)
    const [before, after] = [current as Flag | undefined, accepted.value as Flag]
    if (kind === 'flag' && before !== undefined && losesVariants(before, after)) assertVariantsKept(new Map([[key, { before, after }]]), snapshot.flags())
    return accepted.value
  }
}

function presented<K extends Kind> ({ key, document, provenance }: { key: string, document: Flag | Segment, provenance: { version: number, time: number, by: string | null } }): Stored<K> {
  return present(key, document, provenance) as Stored<K>
}

function mentions ({ key, document: { description, owner, tags } }: FlagEntry, text: string): boolean {
  return key.toLowerCase().includes(text) || description?.toLowerCase().includes(text) === true ||
    owner?.toLowerCase().includes(text) === true || tags?.some((tag) => tag.toLowerCase().includes(text)) === true
}

/** A document that carries the version it was read at may only replace that one. */
function agreedVersion (document: unknown, { version }: ChangeOptions): ChangeOptions['version'] {
  const own = typeof document === 'object' && document !== null && 'version' in document ? document.version : undefined
  if (typeof own !== 'number' || version === '*') return version // the checks say what else is wrong with it
  if (version !== undefined && version !== own) throw new errors.INVALID_REQUEST(`The document says version ${own}, and the request ${version}; send one of them, or the same`)
  return own
}

function assertObject (what: string, value: unknown): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalidDocument(what, [{ path: '', message: 'must be an object of fields to replace, such as { "enabled": true }' }])
}

function notFound (kind: Kind, key: string): Error {
  return kind === 'flag' ? new errors.FLAG_NOT_FOUND(key) : new errors.SEGMENT_NOT_FOUND(key)
}

function conflict (kind: Kind, key: string, current: number, expected: number | '*' | undefined): Error {
  return new errors.VERSION_CONFLICT(`The ${kind} ${key}`, current === 0 ? '0 (there is none)' : current, expected)
}
