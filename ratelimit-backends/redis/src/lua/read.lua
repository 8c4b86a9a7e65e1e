-- Replies with the time, and the value under each key, an empty array for a list; with the time alone
-- if another client has reserved one of them, and this one means to change them.
--
--   ARGV[1]  the time in microseconds, for tests; '' for the server's
--   ARGV[2]  this client's token to reserve the values; '' to leave them as they are
--   ARGV[3]  for how many milliseconds
--   ARGV[4]  '1' to read values that another client has reserved
--   ARGV[5]  '1' to reserve strings, too, which `swap.lua` can compare; lists always are

local token, lease_ms, reserves_all = ARGV[2], ARGV[3], ARGV[5] == '1'
local reply, values, kinds, free = {}, {}, {}, true
for i, key in ipairs(KEYS) do
  local value, kind, reservation = flat(key)
  values[i], kinds[i] = value, kind
  free = free and not is_foreign(reservation, token)
  reply[i + 1] = value == LIST and {} or value or false
end

if not free and ARGV[4] ~= '1' then
  reply = {}
elseif token ~= '' then
  local reservation = '\0' .. struct.pack('>I7', server_now() + lease_ms * 1000) .. token
  for i, key in ipairs(KEYS) do
    local reserves = reserves_all or kinds[i] == 'list'
    if reserves and values[i] ~= '?' then reserve(key, values[i], kinds[i], reservation, lease_ms) end
  end
end

reply[1] = shown_time(ARGV[1])
return reply
