-- Sets a query if the stored one is what the writer has seen, and if there is room.
-- Answers 1 where it is set, 0 where another has changed it, -1 where there are too many.
--
-- KEYS  1  hash: name -> query
--       2  counts changes, from a number that is drawn: a Redis that was wiped does not come to the same again
-- ARGV  1  the name
--       2  the query that was seen, '' for none
--       3  the query
--       4  most queries
--       5  what to count from where nothing was counted yet

local stored = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if stored ~= ARGV[2] then
  return 0
end
if stored == '' and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then
  return -1
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('SET', KEYS[2], ARGV[5], 'NX')
redis.call('INCR', KEYS[2])
return 1
