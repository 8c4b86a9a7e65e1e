-- Stores a value under each key if all of them still hold what was read, and no other client has
-- reserved one; else none of them. Replies with 1 if it did, 0 if not.
--
--   ARGV[1]       this client's token, if it has reserved the values; else ''
--   ARGV[4i - 2]  of KEYS[i]: what was read, flat; '' if nothing was, '*' if it does not matter
--   ARGV[4i - 1]  what to store, flat
--   ARGV[4i]      if that is a list, the length of its head; else 0
--   ARGV[4i + 1]  its time to live in milliseconds; 'keep' to store nothing, 'remove' to do that

local token, values, kinds, reservations = ARGV[1], {}, {}, {}
for i, key in ipairs(KEYS) do
  local wanted = ARGV[4 * i - 2]
  if wanted ~= '*' then
    values[i], kinds[i], reservations[i] = flat(key)
    if (values[i] or '') ~= wanted or is_foreign(reservations[i], token) then return 0 end
  end
end

local ELEMENTS = 1000

for i, key in ipairs(KEYS) do
  local value, head, ttl = ARGV[4 * i - 1], tonumber(ARGV[4 * i]), ARGV[4 * i + 1]
  if ttl == 'remove' then
    redis.call('DEL', key)
  elseif ttl == 'keep' then
    if reservations[i] and reservations[i] ~= '' then reserve(key, values[i], kinds[i], '') end
  elseif head == 0 then
    redis.call('SET', key, value, 'PX', ttl)
  else
    redis.call('DEL', key)
    redis.call('RPUSH', key, value:sub(1, head))
    redis.call('PEXPIRE', key, ttl)
    local elements = {}
    for at = head + 1, #value, ELEMENT do
      elements[#elements + 1] = value:sub(at, at + ELEMENT - 1)
      if #elements == ELEMENTS or #value < at + ELEMENT then
        redis.call('RPUSH', key, unpack(elements))
        elements = {}
      end
    end
  end
end
return 1
