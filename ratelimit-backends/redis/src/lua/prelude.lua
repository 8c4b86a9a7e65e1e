-- The part that every step shares: the time, the action, and how a state lies under its key.
--
--   ARGV[1]  the time in microseconds, for tests; '' for the server's
--   ARGV[2]  'spend', 'take', 'peek', 'refund' or 'extend'
--   ARGV[2i + 1], ARGV[2i + 2]  of KEYS[i]: the header of its state, and the terms of its step
--
-- A state is its header, then its words, seven bytes each. Nothing is ever printed or parsed as a
-- decimal: all numbers are integers below 2^53, which doubles hold and `struct` packs exactly.
-- A step reads and computes, and only when all of them have is anything written.
--
-- Code that every check runs through compares where it could call `min` and `max`, which take longer.

local call, floor, ceil, min, max = redis.call, math.floor, math.ceil, math.min, math.max
local pack, unpack_words = struct.pack, struct.unpack

local EXACT_MAX = 9007199254740991
local now, spare_ms

if ARGV[1] == '' then
  local time = call('TIME')
  -- The core's retention: a clock that steps back by as much grants nothing.
  now, spare_ms = time[1] * 1000000 + time[2], 10000
else
  -- A test's clock may stand while the server's goes on.
  now, spare_ms = ARGV[1] + 0, 3600000
end

local takes, refunds = ARGV[2] == 'take', ARGV[2] == 'refund'
local spends, extends = takes or ARGV[2] == 'spend', ARGV[2] == 'extend'

-- Mirrors `Entry::outcome` in ratelimit-core/src/step.rs: a take spends as much of the cost as there is
-- room for, or is denied as one permit would be.
local function part(cost, room) return max(min(cost, room), 1) end

-- A step takes a key, its header and its terms (and the key's index, if it has use for it). It
-- tells what was found, whether the request fits, what to store if all requests do, for how many
-- microseconds that is not to be forgotten, and what to store if they do not. What to store is
-- the words behind the header, or a function that writes; what is false is not stored.

-- Set where a value is not this policy's, or no state at all. Then nothing is written, and the
-- caller finds out with `read.lua` what it is.
local damaged = false

-- Set where another client changes the value in two steps, see `flat.lua`, and is to be waited for.
local reserved = false

-- Set where the time is not in the window that the terms are of. Then nothing is written, and the
-- caller has to come again with those of the window that the time is in.
local outside = false

-- Set where a value is of this policy's algorithm, with nothing around its state, under other numbers: to
-- the value, or to '' where that is a list.
local changed = false

-- Notes that a value is not this policy's own. Of a list it is the head; `state` is what comes behind
-- states under earlier numbers.
local function refuse(value, state, header, is_list)
  damaged = true
  if type(value) == 'string' and 16 <= #value and value:byte(1) == 0 then
    local time = call('TIME')
    reserved = reserved or time[1] * 1000000 + time[2] < unpack_words('>I7', value, 2)
  end
  -- The version and the kind follow the length of the header.
  if type(state) == 'string' and state:sub(2, 3) == header:sub(2, 3) then
    changed = is_list and '' or value
  end
end

-- States under earlier numbers, which lie in front of a value (`encoding.rs`): a step leaves them there.
-- By key, their bytes, and for how many microseconds they still count.
local earlier = false

-- The value without them. Where they are over, or later than now, it is for the core to change them.
local function behind_earlier(key, value)
  if type(value) ~= 'string' or value:byte(1) ~= 255 or #value < 17 then return value end
  local since, over, length = unpack_words('>I7I7I2', value, 2)
  if now < since or over <= now then return value end
  earlier = earlier or {}
  earlier[key] = {bytes = value:sub(1, 17 + length), left = over - now}
  return value:sub(18 + length)
end

-- The value under a key, if it is a string of that header and so many words.
local function read(key, header, words)
  local value = redis.pcall('GET', key)
  if not value then return false end
  -- An error, of another type, is a table without elements.
  if #value ~= #header + 7 * words or value:sub(1, #header) ~= header then
    local found = value
    value = behind_earlier(key, value)
    if #value ~= #header + 7 * words or value:sub(1, #header) ~= header then
      refuse(found, value, header)
      return false
    end
  end
  return value
end

-- Milliseconds, rounded up. A million tokens that come back one in ten years take longer than
-- commands have digits for, and than 285 years, which the core takes for ever.
local function ms(ttl)
  if EXACT_MAX < ttl then ttl = EXACT_MAX end
  return (0 < ttl and ceil(ttl / 1000) or 1) + spare_ms
end

-- Stores what a step has returned. Where it returns nothing, a key that has lost its time to live
-- gets it back.
local function store(key, header, state, ttl)
  local kept = earlier and earlier[key]
  if kept then header, ttl = kept.bytes .. header, ttl and max(ttl, kept.left) end
  if type(state) == 'string' then
    call('SET', key, header .. state, 'PX', ms(ttl))
  elseif state then
    state()
  elseif ttl and call('PTTL', key) == -1 then
    call('PEXPIRE', key, ms(ttl))
  end
end

-- The first part of a reply: 1 if all was admitted, 0 if not, 2 if something found is not what it
-- should be, 3 if another client is changing it, 4 if the terms are of another time, 5 if its numbers are
-- other ones, and then nothing was done; then the time.
local function verdict(fits)
  return pack('>BI7', outside and 4 or reserved and 3 or changed and 5 or damaged and 2 or fits and 1 or 0, now)
end
