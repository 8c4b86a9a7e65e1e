-- The step of several checks, mirrors `several` in ratelimit-core/src/step.rs: all of them fit,
-- and are charged; or none is. Replies with the verdict, and what was found under each key.

local reply, all_fit = {''}, true
local after, ttls, pulled = {}, {}, {}

-- Shared sensors come last among the keys, and are needed first.
for i = #KEYS, 1, -1 do
  local header, found, fits = ARGV[2 * i + 1], nil, nil
  local step = steps[header:byte(3)]
  found, fits, after[i], ttls[i], pulled[i] = step(KEYS[i], header, ARGV[2 * i + 2], i)
  reply[i + 1], all_fit = found or '', all_fit and fits
end

if not damaged and ARGV[2] ~= 'peek' then
  local states = all_fit and after or pulled
  for i, key in ipairs(KEYS) do store(key, ARGV[2 * i + 1], states[i], ttls[i]) end
end

reply[1] = verdict(all_fit)
return reply
