-- Mirrors ratelimit-core/src/algorithm/fixed_window.rs.

local function fixed_window(key, header, terms)
  local TERMS, cost = unpack_terms(terms)
  local begin = begins_at_first == 1 and now or now - now % window
  local found, start, used, pulled = read(key, header, 2), begin, 0, nil

  if found then
    start, used = unpack_words('>I7I7', found, #header + 1)
    damaged = damaged or EXACT_MAX < start or EXACT_MAX < used
    -- rewind
    if now < start then
      start = begin
      pulled = pack('>I7I7', start, used)
    end
    -- at
    if used == 0 or window <= now - start then start, used = begin, 0 end
  end

  local fits = refunds or used + cost <= limit
  local after = pulled
  if refunds and 0 < used then
    after = pack('>I7I7', start, max(used - cost, 0))
  elseif spends and fits then
    after = pack('>I7I7', start, used + cost)
  end
  return found, fits, after, window - (now - start), pulled
end
