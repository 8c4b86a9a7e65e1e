-- What is under a key, flat: a string as it is, the elements of a list end to end; false if
-- nothing is, and a question mark, which is no state, for anything else.
local function flat(key)
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then return false end
  if kind == 'string' then return redis.call('GET', key) end
  if kind ~= 'list' then return '?' end
  local elements = redis.call('LRANGE', key, 0, -1)
  for i = 2, #elements do
    if #elements[i] ~= 14 then return '?' end
  end
  return table.concat(elements)
end
