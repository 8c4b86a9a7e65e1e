-- Mirrors ratelimit-core/src/algorithm/sliding_window_counter.rs.

local function sliding_window_counter(key, header, terms)
  local TERMS, cost = unpack_terms(terms)
  local begin = now - now % window
  local found, start, previous, current, pulled = read(key, header, 3), begin, 0, 0, nil

  if found then
    start, previous, current = unpack_words('>I7I7I7', found, #header + 1)
    damaged = damaged or EXACT_MAX < start or start % window ~= 0
      or EXACT_MAX < previous or EXACT_MAX < current
    -- rewind
    if now < start then
      start, previous, current = begin, 0, max(current, min(current + previous, limit))
      pulled = pack('>I7I7I7', start, previous, current)
    end
    -- at
    local age = begin - start
    if age == window then
      start, previous, current = begin, current, 0
    elseif 0 < age then
      start, previous, current = begin, 0, 0
    end
  end

  -- weight, carried; a product beyond 2^53 may be inexact, but then it is beyond the limit, too
  local weight = ticks - floor((now - start) / tick)
  local carried = ceil(previous * weight / ticks)
  if takes then cost = part(cost, limit - current - carried) end
  local fits = refunds or current + cost + carried <= limit
  local after = pulled
  if refunds and 0 < previous + current then
    after = pack('>I7I7I7', start, previous, max(current - cost, 0))
  elseif spends and fits then
    after = pack('>I7I7I7', start, previous, current + cost)
  end
  return found, fits, after, 2 * window - (now - start), pulled
end
