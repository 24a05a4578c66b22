import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { errors, isFlagsError } from '../errors.js'
import type { Snapshot } from '../evaluation/snapshot.js'
import type { Flag } from '../model/flag.js'
import type { Segment } from '../model/segment.js'
import type { Replica } from '../replica.js'
import type { Kind } from '../store/store.js'
import { accept, invalidDocument, type Acceptance } from './accept.js'
import { assertUnneeded, assertVariantsKept, losesVariants } from './dependents.js'
import { lookUp, others, present, type Documents, type Stored } from './documents.js'

/** Who makes a change, and which version it applies to: 0 = there must be none yet, `*` = any, but one, left out = whatever is there. */
export interface ChangeOptions { version?: number | '*', by?: string }

/** What becomes of a document that is deleted. Not null, which a caller may give as a document. */
const gone = Symbol('gone')
type Decide<K extends Kind> = (current: Documents[K] | undefined) => Documents[K] | typeof gone

/** How often a change without a version is tried again when others changed the document meanwhile. */
const attempts = 40

/** By how many milliseconds more, at most, each further attempt waits, and how long at most: so that one of many processes comes through. */
const standBack = 4
const longestStandBack = 40

/** Reads what is served, and writes by compare-and-set. */
export class Writer {
  readonly #replica: Replica
  readonly #turns = new Map<string, Promise<unknown>>()

  constructor (replica: Replica) {
    this.#replica = replica
  }

  /** What is served; not the nothing before the first load, which would read as if there were no flags. */
  get snapshot (): Snapshot {
    const { snapshot, status, problem } = this.#replica
    if (status === 'NOT_READY') throw problem ?? new errors.NOT_READY()
    return snapshot
  }

  /** Catches up with the store, so that what follows is decided on what is there now. False when it did not answer. */
  async synced (): Promise<boolean> {
    const synced = await this.#replica.sync()
    void this.snapshot
    return synced
  }

  /** A write to a store that just did not answer a reading would only let its caller wait, and then know nothing. */
  #assertReachable (): void {
    const { problem } = this.#replica
    if (problem === null || problem.code === 'FST_FLAGS_STORE_UNAVAILABLE') throw problem ?? new errors.STORE_UNAVAILABLE('it does not answer')
  }

  get<K extends Kind> (kind: K, key: string): Stored<K> {
    const entry = lookUp(this.snapshot, kind, key)
    if (entry === undefined) throw this.missing(kind, key)
    return presented<K>(entry)
  }

  /** What is there and cannot be read is not taken for nothing. */
  missing (kind: Kind, key: string): Error {
    if (this.#replica.damagedVersion(kind, key) === undefined) return notFound(kind, key)
    return new errors.DAMAGED_DOCUMENT(`${kind} ${key}`, 'it is damaged', 'it is not served')
  }

  async put<K extends Kind> (kind: K, key: string, document: Documents[K], options: ChangeOptions): Promise<{ document: Stored<K>, created: boolean }> {
    const version = agreedVersion(document, options)
    let created = false
    const stored = await this.#write(kind, key, { ...options, version }, (current) => {
      created = current === undefined
      return document
    })
    return { document: stored!, created }
  }

  async change<K extends Kind> (kind: K, key: string, options: ChangeOptions, change: (current: Documents[K]) => Documents[K], acceptance?: Acceptance): Promise<Stored<K>> {
    const stored = await this.#write(kind, key, options, (current) => {
      if (current === undefined) throw this.missing(kind, key)
      return change(current)
    }, acceptance)
    return stored!
  }

  /** Writes a flag as it once stood, where its rollouts stood too, in place of what is there now, if anything. */
  async restore (key: string, options: ChangeOptions, decide: (current: Flag | undefined) => Flag): Promise<Stored<'flag'>> {
    const stored = await this.#write('flag', key, options, decide, { keeping: 'moved' })
    return stored!
  }

  async delete (kind: Kind, key: string, options: ChangeOptions): Promise<void> {
    await this.#write(kind, key, options, () => gone)
  }

  /** Changes of one document made here take turns, so that they compete with those of other processes only. */
  async #write<K extends Kind> (kind: K, key: string, options: ChangeOptions, decide: Decide<K>, acceptance?: Acceptance): Promise<Stored<K> | undefined> {
    const name = `${kind}:${key}`
    const turn = (this.#turns.get(name) ?? Promise.resolve()).then(async () => await this.#compareAndSet(kind, key, options, decide, acceptance))
    const settled = turn.catch(() => {})
    this.#turns.set(name, settled)
    void settled.then(() => { if (this.#turns.get(name) === settled) this.#turns.delete(name) })
    return await turn
  }

  /** Decides on the current document what becomes of it and writes that, anew if another change came first. */
  async #compareAndSet<K extends Kind> (kind: K, key: string, { version, by }: ChangeOptions, decide: Decide<K>, acceptance: Acceptance | undefined): Promise<Stored<K> | undefined> {
    const replica = this.#replica
    for (let attempt = 1; ; attempt++) {
      const synced = await this.synced()
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
        next = this.#accepted(kind, key, decided, current, acceptance)
        if (entry !== undefined && synced && damaged === undefined && isDeepStrictEqual(next, current)) return presented<K>(entry)
      }
      if (!synced) this.#assertReachable()
      const document = next === null ? null : JSON.stringify(next)
      try {
        const written = await replica.write({ kind, key, document, expected, epoch, by: by ?? null, id: randomUUID() })
        await replica.sync(written.version)
        return document === null ? undefined : present(key, next!, { ...written, by: by ?? null }) as Stored<K>
      } catch (error) {
        // Nothing was known when the epoch was null: somebody else wrote first.
        const overtaken = isFlagsError(error) && (error.code === 'FST_FLAGS_VERSION_CONFLICT' || (error.code === 'FST_FLAGS_FOREIGN_EPOCH' && epoch === null))
        if (!overtaken || !synced || attempt === attempts) throw error
        await pause(Math.random() * Math.min((attempt - 1) * standBack, longestStandBack))
      }
    }
  }

  /** The document as it is to be stored. */
  #accepted<K extends Kind> (kind: K, key: string, document: Documents[K], current: Documents[K] | undefined, acceptance: Acceptance | undefined): Documents[K] {
    const { snapshot } = this.#replica
    const accepted = accept(kind, key, document, current, others(snapshot), this.#replica.now(), acceptance)
    if ('details' in accepted) throw invalidDocument(`${kind} ${key}`, accepted.details)
    const [before, after] = [current as Flag | undefined, accepted.value as Flag]
    if (kind === 'flag' && before !== undefined && losesVariants(before, after)) assertVariantsKept(new Map([[key, { before, after }]]), snapshot.flags())
    return accepted.value
  }
}

export function presented<K extends Kind> ({ key, document, provenance }: { key: string, document: Flag | Segment, provenance: { version: number, time: number, by: string | null } }): Stored<K> {
  return present(key, document, provenance) as Stored<K>
}

/** A document that carries the version it was read at may only replace that one. */
export function agreedVersion (document: unknown, { version }: ChangeOptions): ChangeOptions['version'] {
  const own = typeof document === 'object' && document !== null && 'version' in document ? document.version : undefined
  if (typeof own !== 'number' || version === '*') return version // the checks say what else is wrong with it
  if (version !== undefined && version !== own) throw new errors.INVALID_REQUEST(`The document says version ${own}, and the request ${version}; send one of them, or the same`)
  return own
}

function notFound (kind: Kind, key: string): Error {
  return kind === 'flag' ? new errors.FLAG_NOT_FOUND(key) : new errors.SEGMENT_NOT_FOUND(key)
}

function conflict (kind: Kind, key: string, current: number, expected: number | '*' | undefined): Error {
  return new errors.VERSION_CONFLICT(`The ${kind} ${key}`, current === 0 ? '0 (there is none)' : current, expected === 0 ? '0 (to be created)' : expected)
}
