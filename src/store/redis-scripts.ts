import { createHash } from 'node:crypto'
import type { Redis } from 'ioredis'
import { isReply } from './redis-errors.js'

/** A Lua script and the digest Redis caches it under. */
export interface RedisScript { lua: string, sha: string }

export const script = (lua: string): RedisScript => ({ lua, sha: createHash('sha1').update(lua).digest('hex') })

/** Runs a script, which Redis may have to be sent first. */
export async function evaluate (client: Redis, { lua, sha }: RedisScript, keys: Array<string | Buffer>, args: Array<string | number | Buffer>): Promise<unknown> {
  try {
    return await client.evalsha(sha, keys.length, ...keys, ...args)
  } catch (error) {
    if (!isReply(error) || !error.message.includes('NOSCRIPT')) throw error
    return await client.eval(lua, keys.length, ...keys, ...args)
  }
}

/*
 * What the scripts keep, all under one hash tag:
 *   documents  hash    <kind>:<key> → "<version> <ms> <actor as JSON>\n<document>"; @epoch, @revision, @token
 *   log        stream  <revision>-0 → from, to, kind, key, by, time and, unless removed, document: in this order, so that
 *                      entry[2][4] is the token after the change and entry[2][14] the document; kind is 'store' for events
 *   answer     string  "<version> <ms>", what a write answered, kept for a minute under its id
 * A document is never decoded here: cjson would turn [] into {}.
 */

/**
 * Writes or removes one document, if it and the epoch are what the writer believes. The log comes first, because it is
 * what can fail (memory, a wrong type) and a script does not roll back; the wake-up comes last and may fail.
 */
export const writeScript = script(`
-- KEYS: 1 documents, 2 log, 3 answer
-- ARGV: 1 kind, 2 key, 3 'put' or 'remove', 4 document, 5 expected version, 6 epoch or '', 7 epoch to begin, 8 token,
--       9 actor as JSON, 10 length of the log, 11 channel
-- Returns: { 'written', version, ms } | { 'conflict', current version } | { 'foreign' } | { 'damaged' }
local answer = redis.call('GET', KEYS[3])
if answer then return { 'written', string.match(answer, '^(%d+) (%d+)$') } end

local epoch, revision, token = unpack(redis.call('HMGET', KEYS[1], '@epoch', '@revision', '@token'))
if not epoch then
  if redis.call('HLEN', KEYS[1]) > 0 then return { 'damaged' } end
  if ARGV[6] ~= '' then return { 'foreign' } end
  epoch, revision, token = ARGV[7], '0', ''
elseif epoch ~= ARGV[6] then
  return { 'foreign' }
end
if not tonumber(revision) or not token then return { 'damaged' } end

local field = ARGV[1] .. ':' .. ARGV[2]
local value = redis.call('HGET', KEYS[1], field)
local current = '0'
-- A value that cannot be read has no version to lose: whatever is expected, it may be overwritten.
if value then current = string.match(value, '^(%d+) %d+ [^\\n]+\\n') or ARGV[5] end
if current ~= ARGV[5] then return { 'conflict', current } end

local version = string.format('%.0f', tonumber(revision) + 1)
local now = redis.call('TIME')
local ms = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
local entry = { 'from', token, 'to', ARGV[8], 'kind', ARGV[1], 'key', ARGV[2], 'by', ARGV[9], 'time', ms }
if ARGV[3] == 'put' then
  entry[13] = 'document'
  entry[14] = ARGV[4]
end
local function append () return redis.pcall('XADD', KEYS[2], 'MAXLEN', ARGV[10], version .. '-0', unpack(entry)) end
local added = append()
if type(added) == 'table' and added.err and string.find(added.err, 'equal or smaller', 1, true) then
  -- The log of another history, left over when the documents alone were removed or restored.
  redis.call('DEL', KEYS[2])
  added = append()
end
if type(added) == 'table' and added.err then return added end

if ARGV[3] == 'put' then
  redis.call('HSET', KEYS[1], field, version .. ' ' .. ms .. ' ' .. ARGV[9] .. '\\n' .. ARGV[4], '@epoch', epoch, '@revision', version, '@token', ARGV[8])
else
  redis.call('HDEL', KEYS[1], field)
  redis.call('HSET', KEYS[1], '@epoch', epoch, '@revision', version, '@token', ARGV[8])
end
redis.call('SET', KEYS[3], version .. ' ' .. ms, 'PX', 60000)
redis.pcall('PUBLISH', ARGV[11], '')
return { 'written', version, ms }
`)

/**
 * What changed since a position. Stops after some entries or bytes, because a reply of 32 MB would cut off a connection
 * that subscribes; the caller goes on from the last entry.
 */
export const readScript = script(`
-- KEYS: 1 documents, 2 log
-- ARGV: 1 epoch or '', 2 revision ('' for none), 3 token or '', 4 entries, 5 bytes after which to stop
-- Returns: { answer, ms, epoch or '', revision, token or '', entries } where answer is 'changes', 'more' (there are later ones),
--          'reload' (the log does not reach back to the position), 'lost' (the position is of another history) or 'damaged'
local now = redis.call('TIME')
local ms = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
local epoch, revision, token = unpack(redis.call('HMGET', KEYS[1], '@epoch', '@revision', '@token'))
if not epoch then
  if redis.call('HLEN', KEYS[1]) > 0 then return { 'damaged', ms } end
  epoch, revision, token = '', '0', ''
end
if not tonumber(revision) or not token then return { 'damaged', ms } end
local function say (answer, entries) return { answer, ms, epoch, revision, token, entries or {} } end

if ARGV[2] == '' then return say('reload') end
if ARGV[1] ~= epoch then return say(ARGV[1] == '' and 'reload' or 'lost') end
if ARGV[3] == token then return say('changes') end
if tonumber(ARGV[2]) > tonumber(revision) then return say('lost') end
local mine = redis.call('XRANGE', KEYS[2], ARGV[2] .. '-0', ARGV[2] .. '-0')[1]
if mine then
  if mine[2][4] ~= ARGV[3] then return say('lost') end
else
  -- Trimmed, or begun anew by a restoration: what my position leads to may still be the first entry.
  local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  if not first then return say('reload') end
  if first[2][2] ~= ARGV[3] then
    local restored = first[2][8] == 'restored' and first[2][6] == 'store' and tonumber(string.match(first[2][14], '%d+'))
    if not restored then return say('reload') end
    local held = tonumber(string.match(ARGV[3], '^restored%-(%d+)%-'))
    return say((held or tonumber(ARGV[2])) > restored - (held and 0 or 1) and 'lost' or 'reload')
  end
  mine = { '0-0' }
end

local entries, bytes, last = {}, 0, mine
while true do
  local page = redis.call('XRANGE', KEYS[2], '(' .. last[1], '+', 'COUNT', 10)
  if #page == 0 then break end
  for _, entry in ipairs(page) do
    if #entries >= tonumber(ARGV[4]) or bytes >= tonumber(ARGV[5]) then return say('more', entries) end
    entries[#entries + 1] = entry
    bytes = bytes + #(entry[2][14] or '')
    last = entry
  end
end
-- A log that does not lead to the present token has lost its end.
if last[2][4] ~= token then return say('reload') end
return say('changes', entries)
`)

/** A stretch of the log, of all documents or of one. */
export const historyScript = script(`
-- KEYS: 1 log
-- ARGV: 1 'XRANGE' or 'XREVRANGE', 2 from, 3 to, 4 kind or '', 5 key or '', 6 wanted, 7 entries, 8 bytes after which to stop
-- Returns: { oldest id or '', id to go on after or '' at the end, entries }
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local entries, bytes, seen, from = {}, 0, 0, ARGV[2]
while true do
  local page = redis.call(ARGV[1], KEYS[1], from, ARGV[3], 'COUNT', 10)
  if #page == 0 then return { oldest and oldest[1] or '', '', entries } end
  for _, entry in ipairs(page) do
    from = '(' .. entry[1]
    seen = seen + 1
    if (ARGV[4] == '' or entry[2][6] == ARGV[4]) and (ARGV[5] == '' or entry[2][8] == ARGV[5]) then
      entries[#entries + 1] = entry
      bytes = bytes + #(entry[2][14] or '')
    end
    if #entries >= tonumber(ARGV[6]) or seen >= tonumber(ARGV[7]) or bytes >= tonumber(ARGV[8]) then
      return { oldest[1], entry[1], entries }
    end
  end
end
`)
