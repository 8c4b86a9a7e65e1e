-- The value under a key, and the reservation in front of it.
--
-- A value is a string as it is, or a list, whose elements the client reads by itself. While a client
-- changes it in two steps (`read.lua`, then `swap.lua`), a reservation lies in front of the string or
-- of the list's first element: a zero byte, which no header begins with, the time until which it
-- holds (in microseconds, seven bytes), and the client's token.

local RESERVATION, TOKEN = 16, 8

-- No string and no head of a list is longer, no list has more elements, and all but its head are as
-- long as this. What is not so is no state, and is not read as far as that can be told.
local STRING_MAX, ELEMENT, ELEMENTS_MAX = 32768, 14, 1000001

local function is_reservation(bytes)
  return bytes:byte(1) == 0 and RESERVATION <= #bytes
end

-- Time of the server, whatever a test's clock says: reservations are between clients.
local function server_now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- The time that states are read at.
local function shown_time(test)
  return test == '' and server_now() or test + 0
end

-- Stands for a list.
local LIST = {}

-- The value; nil if there is none, and a question mark, which is no state, for what is neither a string
-- nor a list. Then its kind, and the reservation, or ''.
local function flat(key)
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then return nil, kind, '' end
  if kind == 'string' then
    if STRING_MAX < redis.call('STRLEN', key) then return '?', kind, '' end
    local value = redis.call('GET', key)
    if not is_reservation(value) then return value, kind, '' end
    local rest = value:sub(RESERVATION + 1)
    return rest ~= '' and rest or nil, kind, value:sub(1, RESERVATION)
  end
  if kind ~= 'list' or ELEMENTS_MAX < redis.call('LLEN', key) then return '?', kind, '' end
  local head, first = redis.call('LINDEX', key, 0), redis.call('LINDEX', key, 1)
  local last = redis.call('LINDEX', key, -1)
  if STRING_MAX < #head or first and (#first ~= ELEMENT or #last ~= ELEMENT) then
    return '?', kind, ''
  end
  return LIST, kind, is_reservation(head) and head:sub(1, RESERVATION) or ''
end

-- True for a reservation of another client that still holds.
local function is_foreign(reservation, token)
  return reservation ~= '' and reservation:sub(-TOKEN) ~= token
    and server_now() < struct.unpack('>I7', reservation, 2)
end

-- Puts a reservation in front of a value, or takes it away where it is ''.
local function reserve(key, value, kind, reservation, lease_ms)
  if kind == 'list' then
    local head = redis.call('LINDEX', key, 0)
    if is_reservation(head) then head = head:sub(RESERVATION + 1) end
    redis.call('LSET', key, 0, reservation .. head)
  elseif value then
    redis.call('SET', key, reservation .. value, 'KEEPTTL')
  elseif reservation ~= '' then
    redis.call('SET', key, reservation, 'PX', lease_ms)
  else
    redis.call('DEL', key)
  end
end
