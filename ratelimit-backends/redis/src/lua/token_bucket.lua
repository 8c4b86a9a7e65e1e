-- Mirrors `Arithmetic for token_bucket::Quota` in ratelimit-core/src/token_bucket.rs.

local function token_bucket(key, header, terms)
  local full, permit, per_micro, initial, memory, cost = unpack_words('>I7I7I7I7I7I7', terms)
  local found, units, at, returned, pulled = read(key, header, 3), initial, now, 0, nil

  if found then
    units, at, returned = unpack_words('>I7I7I7', found, #header + 1)
    damaged = damaged or full < units or EXACT_MAX < at or EXACT_MAX < returned
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
    -- at; a gain beyond 2^53 may be inexact, but then it is beyond full, too
    local gain = (now - at) * per_micro
    units = units + gain
    if full < units then units = full end
    if full <= gain then returned = 0 end
  elseif spends and 0 < memory then
    -- What begins to fill is known from then on.
    pulled = pack('>I7I7I7', units, at, returned)
  end

  local charge = cost * permit
  local fits = refunds or charge <= units
  local after = pulled
  if refunds and found and units < full then
    units, returned = min(units + charge, full), min(returned + cost, EXACT_MAX)
    after = pack('>I7I7I7', units, now, returned)
  elseif spends and fits then
    units = units - charge
    after = pack('>I7I7I7', units, now, returned)
  end
  local rest = returned == 0 and full - units or full
  local ttl = 0 < memory and memory or ceil(rest / per_micro)
  return found, fits, after, ttl, pulled
end
