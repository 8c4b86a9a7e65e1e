-- The step of one check, mirrors `apply` in ratelimit-core/src/step.rs; or of many that have nothing
-- to do with one another, but are under the same numbers. Replies with the verdict and what was found,
-- end to end; of many, with as much for each.
--
--   ARGV[3]      the header of all states
--   ARGV[3 + i]  the terms of KEYS[i]; where there are only one key's, all have those

local header = ARGV[3]

local function decide(key, terms)
  damaged, reserved, changed, outside = false, false, false, false
  local found, fits, after, ttl, pulled = step(key, header, terms)
  if not damaged and ARGV[2] ~= 'peek' then store(key, header, fits and after or pulled, ttl) end
  return verdict(fits) .. (found or changed or '')
end

if not KEYS[2] then return decide(KEYS[1], ARGV[4]) end
local reply = {}
for i, key in ipairs(KEYS) do reply[i] = decide(key, ARGV[3 + i] or ARGV[4]) end
return reply
