-- Mirrors ratelimit-core/src/algorithm/token_bucket.rs.

local function token_bucket(key, header, terms)
  local TERMS, cost = unpack_terms(terms)
  local found, units, at, returned, pulled = read(key, header, 3), initial, now, 0, nil

  if found then
    units, at, returned = unpack_words('>I7I7I7', found, #header + 1)
    damaged = damaged or capacity < units or EXACT_MAX < at or EXACT_MAX < returned
    -- rewind
    if now < at then
      at = now
      pulled = pack('>I7I7I7', units, at, returned)
    end
    -- renew; but to what is forgotten nothing is given back
    if 0 < memory and memory <= now - at then
      if refunds then return found, true end
      units, at, returned = initial, now, 0
      pulled = pack('>I7I7I7', units, at, returned)
    end
    -- at; a product beyond 2^53 may be inexact, but then it is beyond the capacity, too
    local gained = (now - at) * gain
    units = units + gained
    if capacity < units then units = capacity end
    if capacity <= gained then returned = 0 end
  elseif spends and 0 < memory then
    -- What begins to fill is known from then on.
    pulled = pack('>I7I7I7', units, at, returned)
  end

  if takes then cost = part(cost, floor(units / permit)) end
  local charge = cost * permit
  local fits = refunds or charge <= units
  local after = pulled
  if refunds and found and units < capacity then
    units, returned = min(units + charge, capacity), min(returned + cost, EXACT_MAX)
    after = pack('>I7I7I7', units, now, returned)
  elseif spends and fits then
    units = units - charge
    after = pack('>I7I7I7', units, now, returned)
  end
  local rest = returned == 0 and capacity - units or capacity
  local ttl = 0 < memory and memory or ceil(rest / gain)
  return found, fits, after, ttl, pulled
end
