-- Stores a value under each key if all of them still hold what was read; else none of them.
-- Replies with 1 if it did, 0 if not.
--
--   ARGV[4i - 3]  of KEYS[i]: what was read, flat; '' if nothing was, '*' if it does not matter
--   ARGV[4i - 2]  what to store, flat
--   ARGV[4i - 1]  if that is a list, the length of its head; else 0
--   ARGV[4i]      its time to live in milliseconds; 'keep' to store nothing, 'remove' to do that

for i, key in ipairs(KEYS) do
  local wanted = ARGV[4 * i - 3]
  if wanted ~= '*' and (flat(key) or '') ~= wanted then return 0 end
end

for i, key in ipairs(KEYS) do
  local value, head, ttl = ARGV[4 * i - 2], tonumber(ARGV[4 * i - 1]), ARGV[4 * i]
  if ttl == 'remove' then
    redis.call('DEL', key)
  elseif ttl ~= 'keep' and head == 0 then
    redis.call('SET', key, value, 'PX', ttl)
  elseif ttl ~= 'keep' then
    redis.call('DEL', key)
    redis.call('RPUSH', key, value:sub(1, head))
    redis.call('PEXPIRE', key, ttl)
    for at = head + 1, #value, 14 do redis.call('RPUSH', key, value:sub(at, at + 13)) end
  end
end
return 1
