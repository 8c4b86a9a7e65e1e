-- Replies with the time, and what is under each key.
--
--   ARGV[1]  the time in microseconds, for tests; '' for the server's

local reply = {}
if ARGV[1] == '' then
  local time = redis.call('TIME')
  reply[1] = time[1] * 1000000 + time[2]
else
  reply[1] = ARGV[1] + 0
end
for i, key in ipairs(KEYS) do reply[i + 1] = flat(key) end
return reply
