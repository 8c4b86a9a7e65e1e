-- Mirrors ratelimit-core/src/algorithm/fixed_window.rs.

local function fixed_window(key, header, terms)
  local TERMS, cost = unpack_terms(terms)
  -- 0: aligned to the epoch; 1: to the first request; else a window of a calendar, by its start.
  local begin, packing, words = align == 0 and now - now % window or now, '>I7I7', 2
  if 1 < align then
    begin, packing, words = align - 2, '>I7I7I7', 3
    -- The window has to be the one that the time is in.
    if now < begin or window <= now - begin then damaged, outside = true, true end
  end
  local found, start, used, length, pulled = read(key, header, words), begin, 0, window, nil

  if found then
    start, used, length = unpack_words(packing, found, #header + 1)
    if words == 2 then length = window end
    damaged = damaged or EXACT_MAX < start or EXACT_MAX < used or EXACT_MAX < length
    -- rewind
    if now < start then
      start, length = begin, window
      pulled = pack(packing, start, used, length)
    end
    -- at
    if used == 0 or length <= now - start then start, used, length = begin, 0, window end
  end

  if takes and limit < EXACT_MAX then cost = part(cost, limit - used) end
  local fits = refunds or used + cost <= limit or limit == EXACT_MAX
  local after = pulled
  if refunds and 0 < used then
    after = pack(packing, start, max(used - cost, 0), length)
  elseif spends and fits then
    after = pack(packing, start, min(used + cost, EXACT_MAX), length)
  end
  return found, fits, after, length - (now - start), pulled
end
