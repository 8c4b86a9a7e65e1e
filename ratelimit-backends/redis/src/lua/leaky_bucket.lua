-- Mirrors `Arithmetic for leaky_bucket::Quota` in ratelimit-core/src/leaky_bucket.rs.

local function leaky_bucket(key, header, terms)
  local brim, permit, per_micro, queue_max, cost = unpack_words('>I7I7I7I7I7', terms)
  local found, units, at, pulled = read(key, header, 2), 0, now, nil
  local stored = 0

  if found then
    units, at = unpack_words('>I7I7', found, #header + 1)
    damaged = damaged or brim < units or EXACT_MAX < at
    stored = units
    -- rewind
    if now < at then
      at = now
      pulled = pack('>I7I7', units, at)
    end
    -- at; a loss beyond 2^53 may be inexact, but then it is beyond the level, too
    units = max(units - (now - at) * per_micro, 0)
  end

  local charge = cost * permit
  local fits = refunds or units <= min(brim - charge, queue_max)
  local after = pulled
  if refunds and 0 < units then
    units = max(units - charge, 0)
    after = pack('>I7I7', units, now)
  elseif spends and fits then
    units = units + charge
    after = pack('>I7I7', units, now)
  end
  return found, fits, after, ceil(max(units, stored) / per_micro), pulled
end
