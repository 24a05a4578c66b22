import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { script } from './redis-scripts.js'
import type { Position, StoredDocument } from './store.js'

/*
 * After a restoration the token is "restored-<revision of what was put back>-<random>", which the next ordinary write
 * replaces: so the token itself says whether, and from where on, another may still put back more. Who is at such a token
 * holds no more than that revision, whatever its own has become.
 */

/** How far above the revision put back versions go on, so that none is used again that was lost with the store. */
const leap = 1000
/** Seconds until what a dead process was putting back is forgotten. */
const staged = 30

/** Of what revision a position's documents are, and with which version to go on after they were put back. */
export function sourceOf ({ revision, token }: Position): { source: number, next: number } {
  return { source: Number(/^restored-(\d+)-/.exec(token ?? '')?.[1] ?? revision), next: revision + leap }
}

/** Whether something may be put back. */
export const restorableScript = script(`
-- KEYS: 1 documents
-- ARGV: 1 revision of what is to be put back
-- Returns: 1 or 0
local epoch, token = unpack(redis.call('HMGET', KEYS[1], '@epoch', '@token'))
if not epoch then return redis.call('HLEN', KEYS[1]) == 0 and 1 or 0 end
local from = string.match(token or '', '^restored%-(%d+)%-')
return from and tonumber(from) < tonumber(ARGV[1]) and 1 or 0
`)

/** Puts what was staged in place, if it may still be. The log comes first, because it is what can fail. */
export const restoreScript = script(`
-- KEYS: 1 documents, 2 log, 3 staged documents
-- ARGV: 1 epoch, 2 revision and 3 token of what is put back, 4 how many documents, 5 random part of the new token,
--       6 actor as JSON, 7 lowest version to go on with, 8 channel
-- Returns: 'restored', 'refused' (something else is there) or 'incomplete' (what was staged is gone in part)
local epoch, revision, token = unpack(redis.call('HMGET', KEYS[1], '@epoch', '@revision', '@token'))
local from = string.match(token or '', '^restored%-(%d+)%-')
local free = not epoch and redis.call('HLEN', KEYS[1]) == 0 or from and tonumber(from) < tonumber(ARGV[2])
if not free then
  redis.call('UNLINK', KEYS[3])
  return 'refused'
end
if redis.call('HLEN', KEYS[3]) ~= tonumber(ARGV[4]) then
  redis.call('UNLINK', KEYS[3])
  return 'incomplete'
end

-- A log that leads to what is put back is kept; any other is of another history.
local version = math.max(tonumber(ARGV[7]), (tonumber(revision or '0') or 0) + 1)
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if last then version = math.max(version, tonumber(string.match(last[1], '^%d+')) + 1) end
version = string.format('%.0f', version)
if last and last[2][4] ~= ARGV[3] then redis.call('DEL', KEYS[2]) end

local now = redis.call('TIME')
local ms = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
local to = 'restored-' .. ARGV[2] .. '-' .. ARGV[5]
redis.call('XADD', KEYS[2], version .. '-0', 'from', ARGV[3], 'to', to, 'kind', 'store', 'key', 'restored', 'by', ARGV[6], 'time', ms,
  'document', '{"revision":' .. ARGV[2] .. '}')
redis.call('HSET', KEYS[3], '@epoch', ARGV[1], '@revision', version, '@token', to)
redis.call('PERSIST', KEYS[3])
redis.call('UNLINK', KEYS[1])
redis.call('RENAME', KEYS[3], KEYS[1])
redis.pcall('PUBLISH', ARGV[8], '')
return 'restored'
`)

/** Removes everything, and begins an epoch that says that this was meant. Versions go on, so that none is used again. */
export const resetScript = script(`
-- KEYS: 1 documents, 2 log
-- ARGV: 1 epoch to begin, 2 token, 3 actor as JSON, 4 channel
-- Returns: how many documents there were
local revision = tonumber(redis.call('HGET', KEYS[1], '@revision') or '0') or 0
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if last then revision = math.max(revision, tonumber(string.match(last[1], '^%d+'))) end
local count = redis.call('HLEN', KEYS[1])
for _, field in ipairs({ '@epoch', '@revision', '@token' }) do count = count - redis.call('HEXISTS', KEYS[1], field) end
redis.call('UNLINK', KEYS[1], KEYS[2])
local version = string.format('%.0f', revision + 1)
local now = redis.call('TIME')
local ms = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
redis.call('XADD', KEYS[2], version .. '-0', 'from', '', 'to', ARGV[2], 'kind', 'store', 'key', 'reset', 'by', ARGV[3], 'time', ms)
redis.call('HSET', KEYS[1], '@epoch', ARGV[1], '@revision', version, '@token', ARGV[2])
redis.pcall('PUBLISH', ARGV[4], '')
return count
`)

/** Adds an event to the log. No document changes by it, so more may still be put back after it. */
export const noteScript = script(`
-- KEYS: 1 documents, 2 log
-- ARGV: 1 epoch, 2 what happened, 3 more of it as JSON, 4 actor as JSON, 5 token, 6 length of the log, 7 channel
-- Returns: 'noted' or 'foreign'
local epoch, revision, token = unpack(redis.call('HMGET', KEYS[1], '@epoch', '@revision', '@token'))
if epoch ~= ARGV[1] or not tonumber(revision) or not token then return 'foreign' end
local version = string.format('%.0f', tonumber(revision) + 1)
local to = (string.match(token, '^restored%-%d+%-') or '') .. ARGV[5]
local now = redis.call('TIME')
local ms = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[6], version .. '-0', 'from', token, 'to', to, 'kind', 'store', 'key', ARGV[2], 'by', ARGV[4],
  'time', ms, 'document', ARGV[3])
redis.call('HSET', KEYS[1], '@revision', version, '@token', to)
redis.pcall('PUBLISH', ARGV[7], '')
return 'noted'
`)

/** Writes documents to a key of their own, which forgets itself; piece by piece, so that no piece keeps Redis or this process busy. Resolves to how many. */
export async function stage (client: Redis, key: string, documents: Iterable<StoredDocument>): Promise<number> {
  let count = 0
  let fields: string[] = []
  let size = 0
  let sent: Promise<unknown> = Promise.resolve()
  const send = async () => {
    const before = sent
    const first = count === fields.length / 2
    sent = client.hset(key, ...fields)
    sent.catch(() => {}) // told by whoever waits for it
    fields = []
    size = 0
    await before
    if (first) {
      await sent
      await client.expire(key, staged)
    }
  }
  for (const { kind, key, version, time, by, document } of documents) {
    const value = `${version} ${time} ${JSON.stringify(by)}\n${document}`
    fields.push(`${kind}:${key}`, value)
    size += value.length
    count++
    if (size > 200_000 || fields.length === 1000) await send()
  }
  if (fields.length > 0) await send()
  await sent
  return count
}

export function stagingKey (base: string): string {
  return `${base}:restore:${randomUUID()}`
}
