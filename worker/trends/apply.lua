-- Counts one batch of one partition exactly once: compares the stored state, counts, advances it.
-- Answers the state that it leaves behind ('' for none): ARGV[2] where the batch is counted.
--
-- KEYS  1      the state, "generation:offset"
--       2      the set of sources that are counted by name
--       3...   one hash an hour or a day
-- ARGV  1      the state that the reader believes in, '' for none
--       2      the state afterwards
--       3      seconds after which an untouched hash goes
--       4      most sources that are counted by name
--       5      how many sources follow
--       6...   the sources, in the order of the topic
--       then   rows of four: which of KEYS, "slot|emotion|", which of the sources, how many
--
-- All keys share one hash tag and are passed in: the script runs on a cluster, and on Redis 6.2 to 8 and
-- Valkey alike. States are compared as text, because Lua's numbers hold only 53 bits.

local stored = redis.call('GET', KEYS[1]) or ''
if stored ~= ARGV[1] then
  return stored
end

-- First of all writes: a Redis that takes none (a replica, out of memory) refuses here, before any count.
redis.call('SET', KEYS[1], ARGV[2])

local sources = tonumber(ARGV[5])
local names = {}
for i = 1, sources do
  local source = ARGV[5 + i]
  names[i] = source
  if source ~= 'other' and redis.call('SISMEMBER', KEYS[2], source) == 0 then
    if redis.call('SCARD', KEYS[2]) < tonumber(ARGV[4]) then
      redis.call('SADD', KEYS[2], source)
    else
      names[i] = 'other'
    end
  end
end

for i = 6 + sources, #ARGV, 4 do
  redis.call('HINCRBY', KEYS[tonumber(ARGV[i])], ARGV[i + 1] .. names[tonumber(ARGV[i + 2])], ARGV[i + 3])
end

for i = 2, #KEYS do
  redis.call('EXPIRE', KEYS[i], ARGV[3])
end

return ARGV[2]
