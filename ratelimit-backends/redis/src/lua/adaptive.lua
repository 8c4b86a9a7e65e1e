-- Mirrors ratelimit-core/src/algorithm/adaptive.
--
-- Its head is that of the log, then the bucket's units and instant, then the key's own sensor.

local function adaptive(key, header, terms)
  local TERMS, cost, shared = unpack_terms(terms)
  local present = floor(now / sub_window)
  local log = open_log(key, header, 3 + SENSOR_WORDS, window)
  local units, at = whole * ticks, now
  if log.head then
    units, at = unpack_words('>I7I7', log.head, #header + 8)
    damaged = damaged or whole * ticks < units or EXACT_MAX < at
  end
  local own = open_sensor(log.head and log.head:sub(#header + 22), present)
  if now < at or own.changed then at, log.pulled = min(at, now), true end
  local sensor = sensors[shared] or own

  -- Mirrors `Load::burst` in ratelimit-core/src/state/load.rs. A product beyond 2^53 may be inexact,
  -- but then it is beyond the offset, too.
  local function burst_in(number)
    local count = admitted(sensor, number)
    if count <= low then return whole end
    if high <= count then return cut end
    return max(floor(max(offset - slope * count, 0) / divisor), cut)
  end

  local function rest() return pack('>I7I7', units, at) .. own.packed end

  local function write()
    local slowest = ceil((whole * ticks - units) / cut) * tick
    local ttl = max(window, slowest, shared == 0 and KEPT * sub_window or 0)
    save(log, header .. pack('>I7', log.base) .. rest(), ttl)
  end

  -- Mirrors `bucket`: brings it to now, with room for so many units.
  local function fill(burst)
    local passed = floor((now - at) / tick)
    units = units + passed * burst
    if units < burst * ticks then
      at = at + passed * tick
    else
      units, at = burst * ticks, now
    end
  end

  -- Mirrors `outcome`: when the bucket holds enough, at the burst of a sub-window.
  local function holds(burst) return at + ceil(max(cost * ticks - units, 0) / burst) * tick end

  -- Mirrors `outcome`: whether the request fits before a sub-window ends.
  local function fits_in(number)
    local burst, stop = burst_in(number), (number + 1) * sub_window
    if burst < cost or stop <= holds(burst) then return false end
    if log.used <= burst - cost then return true end
    return entry(log, leaves(log, burst - cost)) + window < stop
  end

  -- The entry that has to leave for a denied request to fit. The burst only grows with time, so
  -- the sub-window in which that happens is the first in which it may.
  local function last_to_leave()
    local low_number, number = present - 1, present + KEPT
    while 1 < number - low_number do
      local middle = floor((low_number + number) / 2)
      if fits_in(middle) then number = middle else low_number = middle end
    end
    local keep = burst_in(number) - cost
    return keep < log.used and leaves(log, keep)
  end

  local burst = burst_in(present)
  local pulled = log.pulled and write
  if refunds then
    -- Where nothing is missing, as `lifetime` and `standing` tell it, nothing is given back.
    local missing = whole * ticks - units
    local expires, refilled = at + ceil(missing / cut) * tick, at + ceil(missing / whole) * tick
    local is_loaded = burst ~= whole or shared == 0 and 0 < admitted(own, present)
    local expired = shared ~= 0 and log.used == 0 and expires <= now
    local spent = log.head and not expired and (0 < log.used or now < refilled or is_loaded)
    local refund = spent and function()
      fill(burst)
      units = min(units + cost * ticks, burst * ticks)
      take(log, cost)
      write()
    end
    local last = cost < log.used and leaves(log, cost)
    return show(log, header, rest(), last), true, refund or pulled
  end

  if takes then
    local tokens = min(units + floor((now - at) / tick) * burst, burst * ticks)
    cost = part(cost, min(floor(tokens / ticks), burst - log.used))
  end
  local fits = log.used + cost <= burst and holds(burst) <= now
  local found = show(log, header, rest(), not fits and last_to_leave())
  return found, fits, function()
    fill(burst)
    units = max(units - cost * ticks, 0)
    push(log, cost)
    record(sensor, present)
    write()
  end, max(window, ceil(whole * ticks / cut) * tick, KEPT * sub_window), pulled
end
