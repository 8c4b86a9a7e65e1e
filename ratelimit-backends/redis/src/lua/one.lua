-- The step of one check, mirrors `one` in ratelimit-core/src/apply.rs. Replies with the verdict
-- and what was found, end to end.

local key, header = KEYS[1], ARGV[3]
local found, fits, after, ttl, pulled = step(key, header, ARGV[4])
if not damaged and (spends or refunds) then store(key, header, fits and after or pulled, ttl) end
return verdict(fits) .. (found or '')
