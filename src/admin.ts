import { invalidDocument } from './admin/accept.js'
import type { StoredFlag, StoredSegment } from './admin/documents.js'
import { changesOf, historyOf, versionOf, type ChangeRecord, type Changes, type ChangesQuery, type FlagHistory, type HistoryRange } from './admin/history.js'
import { pageOf, type PageOptions } from './admin/page.js'
import { patchFlag, type FlagPatch } from './admin/patch.js'
import { lastMoveOf, type LastMove } from './admin/last-move.js'
import { formerVersion, restored } from './admin/revert.js'
import { moveRollout, rolloutOf, type Move, type Rollout, type RolloutMove, type RolloutPlace } from './admin/rollouts.js'
import { changeTargets, switchFlag, type TargetsChange } from './admin/settings.js'
import { staleness, type Staleness } from './admin/stale.js'
import { exportText, importDocuments, type DocumentSet, type ImportReport } from './admin/transfer.js'
import { agreedVersion, presented, Writer, type ChangeOptions } from './admin/writer.js'
import { errors, isFlagsError } from './errors.js'
import { explain, type Explanation } from './evaluation/explain.js'
import type { FlagEntry } from './evaluation/snapshot.js'
import type { Standing } from './guards/verdict.js'
import type { GuardWatch } from './guards/watch.js'
import { toContext, type EvaluationContext } from './model/context.js'
import type { Flag } from './model/flag.js'
import { guardedServesOf } from './model/guard.js'
import type { Segment } from './model/segment.js'
import type { Replica } from './replica.js'

export type { ChangeOptions, ChangeRecord, Changes, ChangesQuery, DocumentSet, FlagHistory, FlagPatch, HistoryRange, ImportReport, LastMove, PageOptions, Rollout, RolloutMove, RolloutPlace, Staleness, StoredFlag, StoredSegment, TargetsChange }

/** `moved` says who last did what to it, as far as the log tells; `guard` also what was seen so far, where that can be read. */
export type RolloutReport = Rollout & { moved?: LastMove, guard?: Partial<Standing> }

export interface FlagFilter {
  tag?: string
  owner?: string
  /** Part of the key, description, owner or a tag, in any case. */
  q?: string
  /** Milliseconds: only flags that are past their `expiresAt`, or have been fully on or off for so long. */
  stale?: number
}

/**
 * The one service that changes things, whoever asks: HTTP, code, the command line or a file. Each change is checked, written
 * by compare-and-set, served by this process when the promise resolves, and answered as stored. One that would change nothing
 * writes nothing and makes no version, so that repeating a change is harmless and the history tells real ones.
 * Rejects with INVALID_DOCUMENT (with details), VERSION_CONFLICT, FLAG_NOT_FOUND or SEGMENT_NOT_FOUND, IN_USE, NEWER_DOCUMENT,
 * or with why the store cannot be written.
 */
export class Admin {
  readonly #replica: Replica
  readonly #writer: Writer
  readonly #environment: string
  readonly #guards: GuardWatch | undefined

  /** `environment` is the one that `explain` is about unless it is given another; `guards` know what guarded rollouts have seen. */
  constructor (replica: Replica, environment = 'production', guards?: GuardWatch) {
    this.#replica = replica
    this.#writer = new Writer(replica)
    this.#environment = environment
    this.#guards = guards
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
    const { entries, next } = pageOf(this.#writer.snapshot.flags(), page, matches)
    return { flags: entries.map((entry) => ({ ...presented<'flag'>(entry), ...stale !== undefined && { stale: staleness(entry, now, stale) } })), next }
  }

  get (key: string): StoredFlag {
    return this.#writer.get('flag', key)
  }

  /** What the flag answers for a context and every step that led there, with the actual values. */
  explain (key: string, context: EvaluationContext = {}, environment: string = this.#environment): Explanation {
    const snapshot = this.#writer.snapshot
    const entry = snapshot.flag(key)
    if (entry === undefined) throw this.#writer.missing('flag', key)
    return explain(entry, { context: toContext(context), now: this.#replica.now(), snapshot, environment })
  }

  async put (key: string, flag: Flag, options: ChangeOptions = {}): Promise<{ flag: StoredFlag, created: boolean }> {
    const { document, created } = await this.#writer.put('flag', key, flag, options)
    return { flag: document, created }
  }

  /** Replaces each field that the patch names, of the flag and of each environment it names; null removes. Nothing is merged deeper. */
  async patch (key: string, patch: FlagPatch, options: ChangeOptions = {}): Promise<StoredFlag> {
    assertObject('patch', patch)
    return await this.#writer.change('flag', key, { ...options, version: agreedVersion(patch, options) }, (flag) => patchFlag(flag, patch))
  }

  async delete (key: string, options: ChangeOptions = {}): Promise<void> {
    await this.#writer.delete('flag', key, options)
  }

  /** Switches a flag on, as a whole or in one environment, which is created if the flag has others. */
  async enable (key: string, { environment, ...options }: ChangeOptions & { environment?: string } = {}): Promise<StoredFlag> {
    return await this.#writer.change('flag', key, options, (flag) => switchFlag(key, flag, true, environment), { lenient: true })
  }

  /** Switches a flag off, as a whole or in one environment, which is created if the flag has others. */
  async disable (key: string, { environment, ...options }: ChangeOptions & { environment?: string } = {}): Promise<StoredFlag> {
    return await this.#writer.change('flag', key, options, (flag) => switchFlag(key, flag, false, environment), { lenient: true })
  }

  /** Adds names to a flag's targets and removes names from them. */
  async changeTargets (key: string, change: TargetsChange, options: ChangeOptions = {}): Promise<StoredFlag> {
    return await this.#writer.change('flag', key, options, (flag) => changeTargets(key, flag, change))
  }

  /** Where a rollout in stages stands, when its next stage comes, who last moved it, and what its guard has seen. */
  async rollout (key: string, place: RolloutPlace = {}): Promise<RolloutReport> {
    const entry = this.#writer.snapshot.flag(key)
    if (entry === undefined) throw this.#writer.missing('flag', key)
    const { document, provenance: { version } } = entry
    const rollout = rolloutOf(key, document, place, this.#replica.now())
    const [moved, seen] = await Promise.all([lastMoveOf(this.#replica.store, key, place), this.#seen(key, document, rollout)])
    return { ...rollout, ...moved !== undefined && { moved }, ...rollout.guard !== undefined && { guard: { ...seen, ...rollout.guard, enough: rollout.guard.enough || seen?.enough === true } }, version }
  }

  async #seen (key: string, flag: Flag, { environment = '', rule, stage }: Pick<Rollout, 'environment' | 'rule' | 'stage'>): Promise<Standing | undefined> {
    if (stage < 0) return undefined // there is nobody to see before the first
    const guarded = guardedServesOf(key, flag, environment).find(({ rollout }) => rollout.rule === rule)
    try {
      return guarded && await this.#guards?.standing(guarded.rollout, stage)
    } catch (error) {
      if (!isFlagsError(error)) throw error
      return undefined
    }
  }

  /** To the next stage. A rollout that is paused stays so, and one that is disabled does not advance (ROLLOUT_CONFLICT), whatever else happens at the same time. */
  async advance (key: string, options: RolloutMove & ChangeOptions = {}): Promise<StoredFlag> {
    return await this.#move('advance', key, options)
  }

  /** To the stage before, where it stays paused; from the first stage the flag, or its environment, is disabled. */
  async rollback (key: string, options: RolloutMove & ChangeOptions = {}): Promise<StoredFlag> {
    return await this.#move('rollback', key, options)
  }

  /** Stops a rollout's clock. */
  async pause (key: string, options: RolloutMove & ChangeOptions = {}): Promise<StoredFlag> {
    return await this.#move('pause', key, options)
  }

  /** Lets a rollout's clock go on where it stopped; an `at` that has passed meanwhile begins its stage now. */
  async resume (key: string, options: RolloutMove & ChangeOptions = {}): Promise<StoredFlag> {
    return await this.#move('resume', key, options)
  }

  async #move (move: Move, key: string, { version, by, ...which }: RolloutMove & ChangeOptions): Promise<StoredFlag> {
    return await this.#writer.change('flag', key, { version, by }, (flag) => moveRollout(key, flag, move, which, this.#replica.now()), { keeping: 'moved', lenient: true })
  }

  /**
   * Writes a version out of the flag's history anew, also of a flag that was deleted. It restores what stood, `enabled` and
   * where its rollouts stood included. Rejects with VERSION_NOT_FOUND, or VERSION_GONE when the log no longer holds it.
   */
  async revert (key: string, to: number, options: ChangeOptions = {}): Promise<StoredFlag> {
    const former = await formerVersion(this.#replica.store, key, to)
    return await this.#writer.restore(key, options, (current) => restored(former, current))
  }

  listSegments (page: PageOptions = {}): { segments: StoredSegment[], next?: string } {
    const { entries, next } = pageOf(this.#writer.snapshot.segments(), page, () => true)
    return { segments: entries.map((entry) => presented<'segment'>(entry)), next }
  }

  getSegment (key: string): StoredSegment {
    return this.#writer.get('segment', key)
  }

  async putSegment (key: string, segment: Segment, options: ChangeOptions = {}): Promise<{ segment: StoredSegment, created: boolean }> {
    const { document, created } = await this.#writer.put('segment', key, segment, options)
    return { segment: document, created }
  }

  async deleteSegment (key: string, options: ChangeOptions = {}): Promise<void> {
    await this.#writer.delete('segment', key, options)
  }

  /** A flag's versions, the newest first, also of one that was deleted. */
  async history (key: string, range: HistoryRange = {}): Promise<FlagHistory> {
    const history = await historyOf(this.#replica.store, key, range)
    if (history.history.length > 0) return history
    const entry = this.#replica.snapshot.flag(key)
    if (entry === undefined && range.before === undefined) throw new errors.FLAG_NOT_FOUND(key)
    // The log was trimmed, or lost and begun anew: what there is of the flag is still one of its versions.
    const kept = entry !== undefined && entry.provenance.version < Math.min(range.before ?? Infinity, history.beginsAt || Infinity)
    return kept ? { ...history, history: [versionOf(entry)] } : history
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
    return exportText(this.#writer.snapshot)
  }

  /** Writes flags and segments: nothing when any of them is not valid, else all that are new or differ. `dryRun` only tells. */
  async import (documents: DocumentSet, { dryRun = false, by }: { dryRun?: boolean, by?: string } = {}): Promise<ImportReport> {
    await this.#writer.synced()
    return await importDocuments(this.#replica, documents, { dryRun, by: by ?? null })
  }
}

function mentions ({ key, document: { description, owner, tags } }: FlagEntry, text: string): boolean {
  return key.toLowerCase().includes(text) || description?.toLowerCase().includes(text) === true ||
    owner?.toLowerCase().includes(text) === true || tags?.some((tag) => tag.toLowerCase().includes(text)) === true
}

function assertObject (what: string, value: unknown): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalidDocument(what, [{ path: '', message: 'must be an object of fields to replace, such as { "enabled": true }' }])
}
