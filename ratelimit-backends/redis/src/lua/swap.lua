-- Stores new values if all strings still are what was read, all lists are still reserved, and no
-- other client has reserved any of them; else none. Replies with the time if it did; if not, as
-- `read.lua` does.
--
--   ARGV[1]       this client's token
--   ARGV[2]       the time in microseconds, for tests; '' for the server's
--   ARGV[7i - 4]  of KEYS[i]: the string as it was read; '' if there was nothing, 'list' if there was a
--                 list, '*' if it does not matter
--   ARGV[7i - 3]  what to store: a string; or the head of a list, and its first entries
--   ARGV[7i - 2]  the length of the head; 0 of a string
--   ARGV[7i - 1]  its time to live in milliseconds; 'keep' to store nothing, 'remove' to do that
--   ARGV[7i], ARGV[7i + 1]  the first and the last element of the list that stay; 0 if none do
--   ARGV[7i + 2]  the entries behind those that stay

local token, values, kinds, reservations = ARGV[1], {}, {}, {}
local found, free, same = {}, true, true
for i, key in ipairs(KEYS) do
  local wanted = ARGV[7 * i - 4]
  if wanted ~= '*' then
    local value, kind, reservation = flat(key)
    same = same and (value == LIST and wanted == 'list' and reservation:sub(-TOKEN) == token
      or (value or '') == wanted)
    free = free and not is_foreign(reservation, token)
    values[i], kinds[i], reservations[i] = value, kind, reservation
    found[i + 1] = value == LIST and {} or value or false
  else
    found[i + 1] = false
  end
end
found[1] = shown_time(ARGV[2])
if not free then return {found[1]} end
if not same then return found end

local ELEMENTS = 1000

-- Pushes elements that lie end to end, in their order or from the last to the first.
local function push(command, key, bytes)
  local elements, count = {}, #bytes / ELEMENT
  for i = 1, count do
    local at = (command == 'RPUSH' and i - 1 or count - i) * ELEMENT
    elements[#elements + 1] = bytes:sub(at + 1, at + ELEMENT)
    if #elements == ELEMENTS or i == count then
      redis.call(command, key, unpack(elements))
      elements = {}
    end
  end
end

for i, key in ipairs(KEYS) do
  local value, head, ttl = ARGV[7 * i - 3], tonumber(ARGV[7 * i - 2]), ARGV[7 * i - 1]
  local first, last = ARGV[7 * i], ARGV[7 * i + 1]
  if ttl == 'remove' then
    redis.call('DEL', key)
  elseif ttl == 'keep' then
    if reservations[i] and reservations[i] ~= '' then reserve(key, values[i], kinds[i], '') end
  elseif head == 0 then
    redis.call('SET', key, value, 'PX', ttl)
  else
    if first == '0' then redis.call('DEL', key) else redis.call('LTRIM', key, first, last) end
    push('LPUSH', key, value:sub(head + 1))
    redis.call('LPUSH', key, value:sub(1, head))
    push('RPUSH', key, ARGV[7 * i + 2])
    redis.call('PEXPIRE', key, ttl)
  end
end
return found[1]
