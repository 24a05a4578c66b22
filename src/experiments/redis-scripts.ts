import { script } from '../store/redis-scripts.js'

/*
 * What the scripts keep of an experiment, all under one hash tag of its own:
 *   counts   hash    @salt, @base (ms, the beginning of a UTC day), @since (ms), @shares (JSON), @goals (how many there are);
 *                    g:<name> → a goal's index; and numbers: u:<variant>:<day> units, x:<variant>:<day> exposures,
 *                    s:<variant>:<day> switched units, c:, v:, q:<variant>:<goal>:<day of exposure> conversions, the sum of
 *                    their values and of its squares, d:<variant>:<goal>:<day of conversion> conversions; !unexposed, !goals
 *                    ignored ones. Variants and goals stand there as indexes, days as days since @base.
 *   units    hashes  7 bytes of a unit's hash → byte: variant, +128 once it switched; 4 bytes: tenths of a second since @base
 *                    of its exposure; then a byte for each goal it reached. The hash's first 13 bits choose among 8,192 of
 *                    them, so that each stays a listpack, as small as can be, for millions of units.
 *   ids      hashes  7 bytes of an event's hash → '': those of an hour, chosen among 8,192 as units are
 *   batch    string  '' under a batch's id, for an hour
 * And of what guards of rollouts count, under a tag of each:
 *   sums     hash    a number's name → the number
 *   ids      hashes  as above, with who claimed it; batch as above
 */

/** Gives an experiment its salt when it has none. */
export const openScript = script(`
-- KEYS: 1 counts
-- ARGV: 1 salt, 2 base, 3 shares as JSON, 4 seconds to keep the counts, 5 the experiment as JSON, for people
-- Returns: { salt, base }
redis.call('HSETNX', KEYS[1], '@salt', ARGV[1])
redis.call('HSETNX', KEYS[1], '@base', ARGV[2])
redis.call('HSETNX', KEYS[1], '@experiment', ARGV[5])
if redis.call('HSETNX', KEYS[1], '@shares', ARGV[3]) == 0 and redis.call('HGET', KEYS[1], '@shares') ~= ARGV[3] then
  redis.call('HSET', KEYS[1], '@shares', 'null')
end
redis.call('EXPIRE', KEYS[1], ARGV[4])
return redis.call('HMGET', KEYS[1], '@salt', '@base')
`)

/**
 * Counts a batch. The first command that writes may be refused (memory), then nothing was; after it none is. The batch's id
 * comes last, so that a script that broke is run again: units know what they have been counted for.
 */
export const recordScript = script(`
-- KEYS: 1 counts, 2 batch, then units and ids, as the records name them by their place (0 is none)
-- ARGV: 1 salt, 2 exposures, each u16 key of the unit, 7 bytes unit, u8 variant, u32 tenths, u16 key of the id, u16 key of the
--       id an hour ago, 7 bytes id; 3 conversions, each u16 key, 7 bytes unit, u16 goal of the list below, u32 tenths,
--       f64 value; 4 the batch's day, 5 time (ms), 6 seconds to keep units, 7 to keep counts, 8 to keep ids, 9 most goals,
--       10 how many variants were read, then variant and count of each; then the goals
-- Returns: 'counted' | 'again' | 'unknown', where the experiment is not there, or has another salt
if redis.call('HGET', KEYS[1], '@salt') ~= ARGV[1] then return 'unknown' end
if redis.call('EXISTS', KEYS[2]) == 1 then return 'again' end
local call, unpack, byte, find = redis.call, struct.unpack, string.byte, string.find
local add, touched, today = {}, {}, ARGV[4]
local function count(field, n) add[field] = (add[field] or 0) + n end
local function day(tenths) return math.floor(tenths / 864000) end

redis.call('HSETNX', KEYS[1], '@since', ARGV[5])
local records, at, length = ARGV[2], 1, #ARGV[2]
while at <= length do
  local key, unit, variant, tenths, ids, before, id
  key, unit, variant, tenths, ids, before, id, at = unpack('>I2c7BI4I2I2c7', records, at)
  if call('HSETNX', KEYS[key], unit, struct.pack('>BI4', variant, tenths)) == 1 then
    count('u:' .. variant .. ':' .. day(tenths), 1)
    touched[key] = true
  else
    local known = call('HGET', KEYS[key], unit)
    local first, since = unpack('>BI4', known)
    if first < 128 and first ~= variant then
      call('HSET', KEYS[key], unit, string.char(first + 128) .. string.sub(known, 2))
      count('s:' .. first .. ':' .. day(since), 1)
    end
  end
  if ids > 0 and call('HEXISTS', KEYS[before], id) == 0 and call('HSETNX', KEYS[ids], id, '') == 1 then
    call('EXPIRE', KEYS[ids], ARGV[8])
    count('x:' .. variant .. ':' .. today, 1)
  end
end

local reads = tonumber(ARGV[10])
for i = 11, 9 + 2 * reads, 2 do count('x:' .. ARGV[i] .. ':' .. today, tonumber(ARGV[i + 1])) end

local names, indexes, sums = 11 + 2 * reads, {}, {}
local function goalOf(place)
  if indexes[place] then return indexes[place] end
  local field = 'g:' .. ARGV[names + place]
  local index = tonumber(call('HGET', KEYS[1], field))
  if not index then
    index = tonumber(call('HGET', KEYS[1], '@goals') or '0')
    if index >= tonumber(ARGV[9]) then
      index = -1
    else
      call('HSET', KEYS[1], field, index, '@goals', index + 1)
    end
  end
  indexes[place] = index
  return index
end

records, at, length = ARGV[3], 1, #ARGV[3]
while at <= length do
  local key, unit, place, tenths, value
  key, unit, place, tenths, value, at = unpack('>I2c7I2I4d', records, at)
  local known = call('HGET', KEYS[key], unit)
  local first, since
  if known then first, since = unpack('>BI4', known) end
  if not known or tenths < since then
    count('!unexposed', 1)
  else
    local goal = goalOf(place)
    if goal < 0 then
      count('!goals', 1)
    elseif not find(known, string.char(goal), 6, true) then
      call('HSET', KEYS[key], unit, known .. string.char(goal))
      touched[key] = true
      local variant = first % 128
      local group = variant .. ':' .. goal .. ':' .. day(since)
      count('c:' .. group, 1)
      count('d:' .. variant .. ':' .. goal .. ':' .. day(tenths), 1)
      if value ~= 0 then
        sums['v:' .. group] = (sums['v:' .. group] or 0) + value
        sums['q:' .. group] = (sums['q:' .. group] or 0) + value * value
      end
    end
  end
end

for key in pairs(touched) do call('EXPIRE', KEYS[key], ARGV[6]) end
for field, n in pairs(add) do call('HINCRBY', KEYS[1], field, n) end
for field, sum in pairs(sums) do
  call('HSET', KEYS[1], field, string.format('%.17g', tonumber(call('HGET', KEYS[1], field) or '0') + sum))
end
call('EXPIRE', KEYS[1], ARGV[7])
call('SET', KEYS[2], '', 'EX', ARGV[8])
return 'counted'
`)

/** Adds numbers. The batch's id comes last, as above: the first number may be refused, further ones are not. */
export const addScript = script(`
-- KEYS: 1 sums, 2 batch
-- ARGV: 1 seconds to keep sums, 2 to keep ids, then name and number of each
-- Returns: all sums, as HGETALL
if redis.call('EXISTS', KEYS[2]) == 0 then
  for i = 3, #ARGV, 2 do redis.call('HINCRBYFLOAT', KEYS[1], ARGV[i], ARGV[i + 1]) end
  redis.call('EXPIRE', KEYS[1], ARGV[1])
  redis.call('SET', KEYS[2], '', 'EX', ARGV[2])
end
return redis.call('HGETALL', KEYS[1])
`)

export const claimScript = script(`
-- KEYS: of each id where those of this hour are, and those of the hour before
-- ARGV: 1 who claims, 2 seconds to keep ids, then the ids
-- Returns: of each id 1 when it is theirs, else 0
local theirs = {}
for i = 1, #ARGV - 2 do
  local ids, before, id = KEYS[2 * i - 1], KEYS[2 * i], ARGV[i + 2]
  local holder = redis.call('HGET', ids, id) or redis.call('HGET', before, id)
  if not holder then
    holder = ARGV[1]
    redis.call('HSET', ids, id, holder)
    redis.call('EXPIRE', ids, ARGV[2])
  end
  theirs[i] = holder == ARGV[1] and 1 or 0
end
return theirs
`)
