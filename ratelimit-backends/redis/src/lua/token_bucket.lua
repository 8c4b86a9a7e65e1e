-- Mirrors `Arithmetic for token_bucket::Quota` in ratelimit-core/src/token_bucket.rs.

local function token_bucket(key, header, terms)
  local full, permit, per_micro, initial, memory, cost = unpack_words('>I7I7I7I7I7I7', terms)
  local found, units, at, pulled = read(key, header, 2), initial, now, nil

  if found then
    units, at = unpack_words('>I7I7', found, #header + 1)
    damaged = damaged or full < units or EXACT_MAX < at
    -- rewind
    if now < at then
      at = now
      pulled = pack('>I7I7', units, at)
    end
    -- renew; but to what is forgotten nothing is given back
    if 0 < memory and memory <= now - at then
      if refunds then return found, true end
      units, at = initial, now
      pulled = pack('>I7I7', units, at)
    end
    -- at; a gain beyond 2^53 may be inexact, but then it is beyond full, too
    units = min(units + (now - at) * per_micro, full)
  elseif spends and 0 < memory then
    -- What begins to fill is known from then on.
    pulled = pack('>I7I7', units, at)
  end

  local charge = cost * permit
  local fits = refunds or charge <= units
  local after = pulled
  if refunds and found and units < full then
    units = min(units + charge, full)
    after = pack('>I7I7', units, now)
  elseif spends and fits then
    units = units - charge
    after = pack('>I7I7', units, now)
  end
  local ttl = 0 < memory and memory or ceil((full - units) / per_micro)
  return found, fits, after, ttl, pulled
end
