import { createHash } from 'node:crypto'
import { mkdir, readFile, stat, utimes } from 'node:fs/promises'
import { dirname } from 'node:path'
import { heldDocuments, loaded, pace, type Known } from './documents.js'
import { errors, textOf } from '../errors.js'
import { Snapshot } from '../evaluation/snapshot.js'
import { isMissing, removeStrays, replaceFile } from '../store/file-disk.js'
import type { Kind, Position, StoredDocument } from '../store/store.js'

/** What a process left on disk. `time` is the store's clock, and `syncedAt` this machine's, when the store last confirmed it; epoch milliseconds. */
export interface Left { known: Known, time: number, syncedAt: number }

interface Head extends Position { 'fastify-flags': 'snapshot', format: 1, namespace: string, time: number, writtenAt: number }
type Row = [kind: Kind, key: string, version: number, time: number, by: string | null]

/**
 * The last known good on disk: a line that says of what and when, a line for each document, and a line with the checksum of
 * all of them. While nothing changes only the file's own time is moved on.
 */
export class SnapshotFile {
  readonly path: string
  readonly #namespace: string

  constructor (path: string, namespace: string) {
    this.path = path
    this.#namespace = namespace
  }

  /** What was left, or undefined when there is no file. Rejects with SNAPSHOT_FILE when it cannot be used. */
  async read (): Promise<Left | undefined> {
    try {
      await removeStrays(dirname(this.path), [this.path])
      const [bytes, { mtimeMs }] = await Promise.all([readFile(this.path), stat(this.path)])
      return await this.#understood(bytes, mtimeMs)
    } catch (error) {
      if (isMissing(error)) return undefined
      throw new errors.SNAPSHOT_FILE(`${this.path} is ignored: ${textOf(error)}`)
    }
  }

  async #understood (bytes: Buffer, mtime: number): Promise<Left> {
    const end = bytes.lastIndexOf('\n', -2) + 1
    const body = bytes.subarray(0, end)
    const { documents: count, sha256 } = parse<{ documents: number, sha256: string }>(bytes.toString('utf8', end))
    if (sha256 !== createHash('sha256').update(body).digest('hex')) throw new Error('it is damaged, its checksum is wrong')
    const head = body.indexOf('\n')
    const { 'fastify-flags': what, format, namespace, time, writtenAt, ...position } = parse<Head>(body.toString('utf8', 0, head))
    if (what !== 'snapshot' || format !== 1) throw new Error('it was written by another version of fastify-flags')
    if (namespace !== this.#namespace) throw new Error(`it is of the namespace ${namespace}, not ${this.#namespace}`)
    const nothing: Known = { position: undefined, snapshot: Snapshot.empty(), damage: new Map() }
    const documents = documentsIn(body.subarray(head + 1), count)
    const known = await loaded(nothing, { kind: 'everything', position, time, documents, damaged: [], lost: false }, { flag: new Set(), segment: new Set() })
    const since = Math.max(0, Math.round(mtime) - writtenAt)
    return { known: { ...known, damage: new Map() }, time: time + since, syncedAt: writtenAt + since }
  }

  /** Replaces the file: a crash leaves the old one or the new one. */
  async write ({ known: { position, snapshot }, time, syncedAt }: Left): Promise<void> {
    const rest = pace()
    const head: Head = { 'fastify-flags': 'snapshot', format: 1, namespace: this.#namespace, ...position!, time, writtenAt: syncedAt }
    const documents = heldDocuments(snapshot)
    const hash = createHash('sha256')
    const parts: string[] = []
    let part = JSON.stringify(head) + '\n'
    const cut = () => {
      hash.update(part)
      parts.push(part)
      part = ''
    }
    let count = 0
    for (const { kind, key, version, time, by, document } of documents) {
      const due = rest()
      if (due !== undefined) {
        cut()
        await due
      }
      part += `${JSON.stringify([kind, key, version, time, by] satisfies Row)}\t${document}\n`
      count++
    }
    cut()
    parts.push(JSON.stringify({ documents: count, sha256: hash.digest('hex') }) + '\n')
    await mkdir(dirname(this.path), { recursive: true })
    await replaceFile(this.path, parts, undefined, 0o600)
    await this.touch(syncedAt)
  }

  /** Notes that what is in the file was still so at a time. */
  async touch (syncedAt: number): Promise<void> {
    await utimes(this.path, syncedAt / 1000, syncedAt / 1000)
  }
}

/** Some documents at a time: what is made of them would else be collected with all the rest. */
async function * documentsIn (lines: Buffer, count: number): AsyncGenerator<StoredDocument[]> {
  let piece: StoredDocument[] = []
  let start = 0
  let found = 0
  for (let end = lines.indexOf('\n'); end !== -1; start = end + 1, end = lines.indexOf('\n', start)) {
    const tab = lines.indexOf('\t', start)
    const [kind, key, version, time, by] = parse<Row>(lines.toString('utf8', start, tab))
    piece.push({ kind, key, version, time, by, document: lines.toString('utf8', tab + 1, end) })
    found++
    if (piece.length < 500) continue
    yield piece
    piece = []
  }
  yield piece
  if (found !== count || start !== lines.length) throw new Error('it is damaged, its end is wrong')
}

function parse<T> (line: string): T {
  try {
    return JSON.parse(line) as T
  } catch {
    throw new Error('it is damaged')
  }
}
