import type { Redis } from 'ioredis'
import type { Change, Kind, Position, StoredDocument, StoreEvent } from './store.js'

/** A log entry as Redis answers it: its id and, flat, the fields that `redis-scripts.ts` lists. */
export type Entry = [id: string, fields: string[]]

/** The revision in a log entry's id `<revision>-0`; 0 for none. */
export function revisionOf (id: string): number {
  return id === '' ? 0 : Number(id.slice(0, id.indexOf('-')))
}

export function positionOf (epoch: string, revision: string, token: string): Position {
  return { epoch: epoch === '' ? null : epoch, revision: Number(revision), token: token === '' ? null : token }
}

export function changeOf ([id, fields]: Entry): Change | StoreEvent {
  const [, , , , , kind, , key, , by, , time, , document = null] = fields as [string, string, string, string, string, Kind, string, string, string, string, string, string, string?, string?]
  return { kind, key, version: revisionOf(id), time: Number(time), by: actorOf(by), document } as Change | StoreEvent
}

/** Characters of documents that are read in one go; above that piece by piece. */
const atOnce = 16_000_000

/**
 * All documents of the hash. What is small comes in one answer. Else it comes piece by piece, so that no piece keeps Redis or
 * this process busy for long: the next one is under way while one is read, and they are cut to some 600 KB by what came so far.
 */
export async function loadAll (client: Redis, hash: string) {
  const loaded = new Loaded()
  let count = 100
  const [length, first] = await Promise.all([client.hlen(hash), client.hscan(hash, 0, 'COUNT', count)])
  let [cursor, fields] = first
  loaded.take(fields)
  if (cursor !== '0' && length * loaded.averageSize <= atOnce && await takeAtOnce(client, hash, loaded)) cursor = '0'
  let next = cursor === '0' ? undefined : client.hscan(hash, cursor, 'COUNT', count)
  while (next !== undefined) {
    [cursor, fields] = await next
    next = cursor === '0' ? undefined : client.hscan(hash, cursor, 'COUNT', count)
    next?.catch(() => {}) // awaited above; but should the loop end by an error first, this one must not go unhandled
    loaded.take(fields)
    count = Math.max(10, Math.min(2000, Math.round(600_000 / loaded.averageSize)))
  }
  return loaded.result()
}

/** False when it did not work: a user may be allowed to HSCAN, and no more. */
async function takeAtOnce (client: Redis, hash: string, loaded: Loaded): Promise<boolean> {
  const answers = await client.multi().hkeys(hash).hvals(hash).exec().catch(() => null)
  const [names, values] = (answers ?? []).map(([error, answer]) => error === null ? answer as string[] : undefined)
  if (names === undefined || values === undefined) return false
  loaded.take(names.flatMap((name, i) => [name, values[i]!]))
  return true
}

/** What has come so far. A field may come twice, and may have been damaged or mended between: what came last counts. */
class Loaded {
  readonly #documents = new Map<string, StoredDocument>()
  readonly #damaged = new Map<string, { kind: Kind, key: string }>()
  #size = 0
  #fields = 0

  /** Characters a field, 1 at least. */
  get averageSize (): number {
    return Math.max(1, this.#size / Math.max(1, this.#fields))
  }

  /** Fields and values in turn. */
  take (fields: string[]): void {
    for (let i = 0; i < fields.length; i += 2) {
      const field = fields[i]!
      const value = fields[i + 1]!
      this.#size += value.length
      this.#fields++
      const kind = kindOf(field)
      if (kind === undefined) continue
      const key = field.slice(kind.length + 1)
      const document = documentOf(kind, key, value)
      if (document === undefined) {
        this.#damaged.set(field, { kind, key })
        this.#documents.delete(field)
      } else {
        this.#documents.set(field, document)
        this.#damaged.delete(field)
      }
    }
  }

  result () {
    return { documents: [...this.#documents.values()], damaged: [...this.#damaged.values()] }
  }
}

function kindOf (field: string): Kind | undefined {
  return field.startsWith('flag:') ? 'flag' : field.startsWith('segment:') ? 'segment' : undefined
}

/** Reads `<version> <ms> <actor as JSON>\n<document>`; undefined when it is not that. Done for each document of a load. */
function documentOf (kind: Kind, key: string, value: string): StoredDocument | undefined {
  const afterVersion = value.indexOf(' ')
  const afterTime = value.indexOf(' ', afterVersion + 1)
  const end = value.indexOf('\n', afterTime + 1)
  if (afterVersion < 1 || afterTime < 0 || end < 0) return undefined
  const version = Number(value.slice(0, afterVersion))
  const time = Number(value.slice(afterVersion + 1, afterTime))
  if (!Number.isSafeInteger(version) || version < 1 || !Number.isSafeInteger(time)) return undefined
  try {
    const by = actorOf(value.slice(afterTime + 1, end))
    return by === null || typeof by === 'string' ? { kind, key, version, time, by, document: value.slice(end + 1) } : undefined
  } catch {
    return undefined
  }
}

function actorOf (json: string) {
  return json === 'null' ? null : JSON.parse(json)
}
