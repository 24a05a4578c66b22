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
 * under way while one is used, and pieces are cut to some 600 KB by the size of what came so far. What cannot be read is
 * added to `damaged`. They are taken as bytes: of each only its document becomes a text.
 */
export async function * loadAll (client: Redis, hash: string, damaged: Array<{ kind: Kind, key: string }>): AsyncGenerator<StoredDocument[]> {
  let count = 100
  let seen = 0
  let total = 0
  let next: Promise<[Buffer, Buffer[]]> | undefined = client.hscanBuffer(hash, 0, 'COUNT', count)
  while (next !== undefined) {
    const [position, fields]: [Buffer, Buffer[]] = await next
    const cursor = position.toString()
    next = cursor === '0' ? undefined : client.hscanBuffer(hash, cursor, 'COUNT', count)
    next?.catch(() => {}) // awaited above; but should the loop end first, this one must not go unhandled
    const documents: StoredDocument[] = []
    for (let i = 0; i < fields.length; i += 2) {
      const field = fields[i]!.toString()
      const value = fields[i + 1]!
      total += value.length
      const kind = kindOf(field)
      if (kind === undefined) continue
      const key = field.slice(kind.length + 1)
      const document = documentOf(kind, key, value)
      if (document === undefined) damaged.push({ kind, key })
      else documents.push(document)
    }
    seen += fields.length / 2
    count = Math.max(10, Math.min(2000, Math.round(600_000 * seen / (total + 1))))
    yield documents
  }
}

function kindOf (field: string): Kind | undefined {
  return field.startsWith('flag:') ? 'flag' : field.startsWith('segment:') ? 'segment' : undefined
}

/** Reads `<version> <ms> <actor as JSON>\n<document>`; undefined when it is not that. Done for each document of a load. */
function documentOf (kind: Kind, key: string, value: Buffer): StoredDocument | undefined {
  const end = value.indexOf(newline)
  const head = value.toString('utf8', 0, end)
  const afterVersion = head.indexOf(' ')
  const afterTime = head.indexOf(' ', afterVersion + 1)
  if (end < 0 || afterVersion < 1 || afterTime < 0) return undefined
  const version = Number(head.slice(0, afterVersion))
  const time = Number(head.slice(afterVersion + 1, afterTime))
  if (!Number.isSafeInteger(version) || version < 1 || !Number.isSafeInteger(time)) return undefined
  try {
    const by = actorOf(head.slice(afterTime + 1))
    return by === null || typeof by === 'string' ? { kind, key, version, time, by, document: value.toString('utf8', end + 1) } : undefined
  } catch {
    return undefined
  }
}

const newline = 10

function actorOf (json: string) {
  return json === 'null' ? null : JSON.parse(json)
}
