-- Mirrors ratelimit-core/src/algorithm/in_flight.rs.
--
-- Behind the header lie the last hold's number, the newest instant, the permits held and the number of
-- holds; then the holds, in the order in which they lapse: of each its instant, length, number, cost.

local HOLD, WORDS = 28, '>I7I7I7I7'

local function hold(holds, index)
  return unpack_words(WORDS, holds.packed, HOLD * (index - 1) + 1)
end

-- The time until a hold lapses, its number, and its cost.
local function left(holds, index)
  local at, length, number, cost = hold(holds, index)
  return length - (now - at), number, cost
end

-- Puts bytes in the place of so many holds.
local function replace(holds, index, count, bytes)
  local packed = holds.packed
  holds.packed = packed:sub(1, HOLD * (index - 1)) .. bytes
    .. packed:sub(HOLD * (index + count - 1) + 1)
end

-- Mirrors `rewind`.
local function pull_holds_back(holds)
  local all = {}
  for i = 1, holds.count do
    local at, length, number, cost = hold(holds, i)
    at = min(at, now)
    all[i] = {length - (now - at), number, pack(WORDS, at, length, number, cost)}
  end
  table.sort(all, function(one, other)
    return one[1] < other[1] or one[1] == other[1] and one[2] < other[2]
  end)
  for i = 1, holds.count do all[i] = all[i][3] end
  holds.newest, holds.packed, holds.pulled = now, table.concat(all), true
end

-- Opens the holds under a key, rewound to now, and counts those that have lapsed.
local function open_holds(key, header)
  local holds = {found = redis.pcall('GET', key), last = 0, newest = 0, held = 0, count = 0,
    packed = '', gone = 0, used = 0, pulled = false}
  local value = holds.found
  if not value then return holds end
  -- An error, of another type, is a table without elements.
  local size = #value - #header - HOLD
  if size < 0 or size % HOLD ~= 0 or value:sub(1, #header) ~= header then
    refuse(value, value, header)
    holds.found = false
    return holds
  end
  local last, newest, held, count = unpack_words(WORDS, value, #header + 1)
  damaged = damaged or EXACT_MAX < last or EXACT_MAX < newest or size ~= HOLD * count
  holds.last, holds.newest, holds.held, holds.count = last, newest, held, size / HOLD
  holds.packed = value:sub(#header + HOLD + 1)
  if now < newest then pull_holds_back(holds) end

  -- lapsed
  holds.used = held
  while holds.gone < holds.count do
    local rest, _, cost = left(holds, holds.gone + 1)
    if 0 < rest then break end
    holds.gone, holds.used = holds.gone + 1, holds.used - cost
  end
  return holds
end

-- Mirrors `find`: where the hold of a number is, if it still counts.
local function find_hold(holds, number)
  local wanted, from = pack('>I7', number), HOLD * holds.gone + 1
  while 0 < number do
    local place = holds.packed:find(wanted, from, true)
    if not place then return nil end
    -- Behind an instant and a length.
    if place % HOLD == 15 then return (place + 13) / HOLD end
    from = place + 1
  end
end

-- Mirrors `add`.
local function add_hold(holds, length, number, cost)
  local place = holds.count
  while 0 < place do
    local rest, other = left(holds, place)
    if rest < length or rest == length and other < number then break end
    place = place - 1
  end
  replace(holds, place + 1, 0, pack(WORDS, now, length, number, cost))
  holds.newest, holds.held, holds.count = now, holds.held + cost, holds.count + 1
end

-- Mirrors `release`: takes up to `cost` off a hold.
local function release_hold(holds, index, cost)
  local at, length, number, permits = hold(holds, index)
  if cost < permits then
    replace(holds, index, 1, pack(WORDS, at, length, number, permits - cost))
    holds.held = holds.held - cost
  else
    replace(holds, index, 1, '')
    holds.held, holds.count = holds.held - permits, holds.count - 1
  end
  return number, permits
end

-- Mirrors `frees`: the hold that has to lapse last for so many permits to be free, and the sum up to it.
local function frees(holds, cost)
  local sum = 0
  for index = holds.gone + 1, holds.count do
    local _, _, permits = left(holds, index)
    sum = sum + permits
    if cost <= sum then return index, sum end
  end
  return holds.count, sum
end

-- As much of the holds as the decision needs: one, which stands for so many permits, and the last of
-- the others for the rest.
local function show_holds(holds, header, one, permits)
  if not holds.found then return false end
  local other = one == holds.count and one - 1 or holds.count
  local shown, count = '', 0
  local function put(index, cost)
    local at, length, number = hold(holds, index)
    shown, count = shown .. pack(WORDS, at, length, number, cost), count + 1
  end
  local rest = holds.used - permits
  if 0 < rest and other < one then put(other, rest) end
  if 0 < permits then put(one, permits) end
  if 0 < rest and one < other then put(other, rest) end
  return header .. pack(WORDS, holds.last, holds.newest, holds.used, count) .. shown
end

local function in_flight(key, header, terms)
  local TERMS, cost, number = unpack_terms(terms)
  local holds = open_holds(key, header)
  if damaged then return holds.found, false end
  local function state()
    return pack(WORDS, holds.last, holds.newest, holds.held, holds.count) .. holds.packed
  end
  local function ttl()
    local longest = 0 < holds.count and left(holds, holds.count) or 0
    return max(longest, holds.last - now)
  end
  local pulled = holds.pulled and state()

  local mine = find_hold(holds, number)
  if mine and (refunds or extends) then
    local _, _, permits = left(holds, mine)
    local found = show_holds(holds, header, mine, permits)
    if refunds then
      release_hold(holds, mine, cost)
    else
      add_hold(holds, held_at_most, release_hold(holds, mine, permits))
    end
    return found, true, state(), ttl(), pulled
  end

  if takes then cost = part(cost, limit - holds.used) end
  local excess = refunds and 0 or holds.used + cost - limit
  local found = show_holds(holds, header, frees(holds, max(excess, 0)))
  if 0 < excess or not spends then
    return found, excess <= 0 and not extends, pulled, ttl(), pulled
  end
  replace(holds, 1, holds.gone, '')
  holds.count, holds.held = holds.count - holds.gone, holds.used
  holds.last = min(max(holds.last, now) + 1, EXACT_MAX)
  add_hold(holds, held_at_most, holds.last, cost)
  return found, true, state(), ttl(), pulled
end
