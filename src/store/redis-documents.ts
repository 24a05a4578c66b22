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

/**
 * All documents of the hash, piece by piece, so that no piece keeps Redis or this process busy for long: the next piece is
 * under way while one is read, and pieces are cut to some 600 KB by the size of what came so far.
 */
export async function loadAll (client: Redis, hash: string) {
  const documents = new Map<string, StoredDocument>()
  const damaged = new Map<string, { kind: Kind, key: string }>()
  let count = 100
  let total = 0
  let next: Promise<[string, string[]]> | undefined = client.hscan(hash, 0, 'COUNT', count)
  while (next !== undefined) {
    const [cursor, fields]: [string, string[]] = await next
    next = cursor === '0' ? undefined : client.hscan(hash, cursor, 'COUNT', count)
    next?.catch(() => {}) // awaited above; but should the loop end by an error first, this one must not go unhandled
    for (let i = 0; i < fields.length; i += 2) {
      const field = fields[i]!
      const value = fields[i + 1]!
      total += value.length
      const kind = kindOf(field)
      if (kind === undefined) continue
      const key = field.slice(kind.length + 1)
      const document = documentOf(kind, key, value)
      // A field may come twice, and may have been damaged or mended between.
      if (document === undefined) damaged.set(field, { kind, key })
      else documents.set(field, document)
    }
    const seen = documents.size + damaged.size
    if (seen > 0) count = Math.max(10, Math.min(2000, Math.round(600_000 * seen / total)))
  }
  for (const field of damaged.keys()) documents.delete(field)
  return { documents: [...documents.values()], damaged: [...damaged.values()] }
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
