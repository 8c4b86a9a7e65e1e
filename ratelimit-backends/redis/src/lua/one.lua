-- The step of one check, mirrors `apply` in ratelimit-core/src/step.rs; or of many that have nothing
-- to do with one another, but are of one policy and at one cost. Replies with the verdict and what
-- was found, end to end; of many, with as much for each.

local header, terms = ARGV[3], ARGV[4]

local function decide(key)
  damaged, reserved, changed = false, false, false
  local found, fits, after, ttl, pulled = step(key, header, terms)
  if not damaged and ARGV[2] ~= 'peek' then store(key, header, fits and after or pulled, ttl) end
  return verdict(fits) .. (found or '')
end

if not KEYS[2] then return decide(KEYS[1]) end
local reply = {}
for i, key in ipairs(KEYS) do reply[i] = decide(key) end
return reply
