-- Mirrors ratelimit-core/src/algorithm/leaky_bucket.rs.

local function leaky_bucket(key, header, terms)
  local TERMS, cost = unpack_terms(terms)
  local found, units, at, returned, pulled = read(key, header, 3), 0, now, 0, nil
  local stored = 0

  if found then
    units, at, returned = unpack_words('>I7I7I7', found, #header + 1)
    damaged = damaged or capacity < units or EXACT_MAX < at or EXACT_MAX < returned
    stored = units
    -- rewind
    if now < at then
      at = now
      pulled = pack('>I7I7I7', units, at, returned)
    end
    -- at; a product beyond 2^53 may be inexact, but then it is beyond the level, too
    local lost = (now - at) * loss
    units = lost < units and units - lost or 0
    if capacity <= lost then returned = 0 end
  end

  if takes then
    cost = part(cost, units <= queue_max and floor((capacity - units) / permit) or 0)
  end
  local charge = cost * permit
  local fits = refunds or units <= capacity - charge and units <= queue_max
  local after = pulled
  if refunds and 0 < units then
    units, returned = max(units - charge, 0), min(returned + cost, EXACT_MAX)
    after = pack('>I7I7I7', units, now, returned)
  elseif spends and fits then
    units = units + charge
    after = pack('>I7I7I7', units, now, returned)
  end
  local rest = returned == 0 and max(units, stored) or capacity
  return found, fits, after, ceil(rest / loss), pulled
end
