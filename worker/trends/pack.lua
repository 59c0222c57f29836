-- Replaces a packed table of terms by one into which its first new tables were added, if nobody else has.
-- Answers how many new tables KEYS[3] holds then; -1 where somebody has.
--
-- KEYS  1  hash: the table (b) and its version (v)
--       2  list of new tables
--       3  list of new tables of the coarser bucket, the same as 2 where there is none
--       4  set of buckets that are not packed
-- ARGV  1  the version that the table was read at, '' for none
--       2  how many new tables were added
--       3  the new table
--       4  what was added, packed too: goes on to KEYS[3]
--       5  seconds until KEYS[1] goes, 6: KEYS[3]
--       7  the member of KEYS[4]

if (redis.call('HGET', KEYS[1], 'v') or '') ~= ARGV[1] then
  return -1
end
redis.call('HSET', KEYS[1], 'b', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'v', 1)
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('LTRIM', KEYS[2], ARGV[2], -1)
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('SREM', KEYS[4], ARGV[7])
end
if KEYS[3] ~= KEYS[2] then
  redis.call('RPUSH', KEYS[3], ARGV[4])
  redis.call('EXPIRE', KEYS[3], ARGV[6])
end
return redis.call('LLEN', KEYS[3])
