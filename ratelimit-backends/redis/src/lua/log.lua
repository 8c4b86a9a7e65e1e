-- A log of charges, mirrors `Log` in ratelimit-core/src/state/entries.rs.
--
-- A list: first the head (the header, the running total before the oldest entry, and whatever
-- else the state has), then the entries, oldest first, each an instant and the running total up
-- to and with it. Totals wrap at 2^52, more than any log can hold. A check reads the head and
-- both ends; what lies between is looked up by binary search, and only where it matters.

local WRAP = 4503599627370496

-- The instant and the running total of an entry. The newest may be one that no list has yet.
local function entry(log, index)
  if index == log.size then return log.at, log.total end
  local packed = index == 1 and log.first or call('LINDEX', log.key, index)
  if not packed or #packed ~= 14 then
    damaged = true
    return now, log.base
  end
  local at, total = unpack_words('>I7I7', packed)
  damaged = damaged or EXACT_MAX < at or WRAP <= total
  return at, total
end

-- The first entry after `low` that passes, where `high` would: most often it is near, so steps
-- double until one is too far.
local function search(log, low, high, passes)
  local step = 1
  while low + step < high and not passes(entry(log, low + step)) do
    low, step = low + step, 2 * step
  end
  high = min(low + step, high)
  while 1 < high - low do
    local middle = floor((low + high) / 2)
    if passes(entry(log, middle)) then high = middle else low = middle end
  end
  return high
end

-- Mirrors `rewind`: entries later than now become one at now.
local function rewind(log)
  local kept = search(log, 0, log.size, function(at) return now < at end) - 1
  if 0 < kept and entry(log, kept) == now then kept = kept - 1 end
  log.size, log.at, log.pulled = kept + 1, now, true
end

-- Mirrors `first_live`: how many entries are gone.
local function count_gone(log, window)
  return search(log, 0, log.size + 1, function(at) return now - at < window end) - 1
end

-- Opens the log under a key, rewound to now. Its head has so many words, the first the base.
local function open_log(key, header, words, window)
  local log = {key = key, head = false, first = false, stored = 0, size = 0, drop = 0, gone = 0,
    base = 0, before = 0, at = 0, total = 0, used = 0, pulled = false}
  local front = redis.pcall('LRANGE', key, 0, 1)
  local head = front[1]
  if head and head:sub(1, #header) ~= header then head = behind_earlier(key, head) end
  if front.err or head
    and (#head ~= #header + 7 * words or head:sub(1, #header) ~= header) then
    refuse(front[1], head, header, true)
  elseif head then
    log.head = head
    log.base = unpack_words('>I7', head, #header + 1)
    damaged = damaged or WRAP <= log.base
    log.total, log.before = log.base, log.base
  end
  if not log.head or not front[2] then return log end

  local stored = call('LLEN', key) - 1
  log.first, log.stored = front[2], stored
  log.at, log.total = entry(log, -1)
  log.size = stored
  if now < log.at then rewind(log) end
  log.gone = count_gone(log, window)
  if 0 < log.gone then log.before = select(2, entry(log, log.gone)) end
  log.used = (log.total - log.before) % WRAP
  return log
end

-- Mirrors `falls_to`: the entry that has to leave for no more than `keep` to be left, where more
-- is used.
local function leaves(log, keep)
  local goal = log.used - keep
  return search(log, log.gone, log.size, function(_, total)
    return goal <= (total - log.before) % WRAP
  end)
end

-- The number of entries that count, and as much of the log as its decision needs; see `Record::hiding` in
-- ratelimit-core/src/store/words.rs. `last` is the entry that matters beside both ends, if one does.
local function show(log, header, rest, last)
  if not log.head then return false end
  local first = log.gone + 1
  last = last or first
  -- Those that are not shown count with the oldest; but not where a refund may take them away.
  local count = (refunds and min(last + 1, log.size) or log.size) - log.gone
  local shown, before, latest = '', log.before, -1
  local function add(at, total)
    damaged = damaged or at <= latest or total == before
    shown, before, latest = shown .. pack('>I7I7', at, total), total, at
  end

  if first < last then add((entry(log, first)), select(2, entry(log, last - 1))) end
  if last < log.size then add(entry(log, last)) end
  if first <= log.size then add(log.at, log.total) end
  return pack('>I7', count) .. header .. pack('>I7', log.before) .. rest .. shown
end

-- Mirrors `push`.
local function push(log, cost)
  log.drop, log.base = log.gone, log.before
  if log.size == 0 or log.at ~= now then log.size, log.at = log.size + 1, now end
  log.total = (log.total + cost) % WRAP
end

-- Mirrors `take`: what is left of the entries that count ends with the one it is taken off.
local function take(log, cost)
  local newest = cost < log.used and leaves(log, cost) or log.gone
  log.at = 0 < newest and entry(log, newest) or 0
  log.size, log.total = newest, (log.before + max(log.used - cost, 0)) % WRAP
end

-- Writes what has changed: both ends of the list. What takes room comes first, so that a server
-- that has none refuses the whole.
local function save(log, head, ttl)
  local key, size = log.key, log.size
  local kept = earlier and earlier[key]
  if kept then ttl = max(ttl, kept.left) end
  if not log.head then
    call('RPUSH', key, head, pack('>I7I7', log.at, log.total))
  else
    if log.stored < size then
      call('RPUSH', key, pack('>I7I7', log.at, log.total))
    elseif 0 < size then
      call('LSET', key, size, pack('>I7I7', log.at, log.total))
    end
    -- The head goes as well, and takes the place of the last that is dropped.
    if 0 < log.drop or size < log.stored then call('LTRIM', key, log.drop, size) end
    if 0 < log.drop or head ~= log.head then
      call('LSET', key, 0, kept and kept.bytes .. head or head)
    end
  end
  call('PEXPIRE', key, ms(ttl))
end
