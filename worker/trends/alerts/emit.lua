-- Records one alert, once, if it may be recorded, and queues it for whoever it must reach.
-- Answers {what became of it, how many older alerts had to leave each queue...}.
--
-- KEYS  1  the lease: only its holder writes    4  end of the last alert's window, by series (zset)
--       2  alerts by the end of their window    5...  one queue a channel (list, oldest first)
--       3  alerts by id (hash)
-- ARGV  1  the holder's token    4  the series                      7  most alerts to remember
--       2  id of the alert       5  end of its window, epoch s      8  seconds after which all of it goes
--       3  the alert as JSON     6  cooldown, seconds               9  most alerts to queue
--
-- All keys share one hash tag and are passed in: the script runs on a cluster, and on Redis 6.2 to 8 and
-- Valkey alike.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'fenced'}
end
if redis.call('HEXISTS', KEYS[3], ARGV[2]) == 1 then
  return {'known'}
end
local last = redis.call('ZSCORE', KEYS[4], ARGV[4])
if last and math.abs(tonumber(ARGV[5]) - tonumber(last)) < tonumber(ARGV[6]) then
  return {'quiet'}
end

redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[5], ARGV[2])
redis.call('ZADD', KEYS[4], ARGV[5], ARGV[4])

local oldest = redis.call('ZRANGE', KEYS[2], 0, -1 - tonumber(ARGV[7]))
for _, id in ipairs(oldest) do
  redis.call('ZREM', KEYS[2], id)
  redis.call('HDEL', KEYS[3], id)
end
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', tonumber(ARGV[5]) - tonumber(ARGV[8]))

local answer = {'new'}
for i = 5, #KEYS do
  local dropped = 0
  redis.call('RPUSH', KEYS[i], ARGV[3])
  while redis.call('LLEN', KEYS[i]) > tonumber(ARGV[9]) do
    redis.call('LPOP', KEYS[i])
    dropped = dropped + 1
  end
  redis.call('EXPIRE', KEYS[i], ARGV[8])
  answer[#answer + 1] = dropped
end
for i = 2, 4 do
  redis.call('EXPIRE', KEYS[i], ARGV[8])
end
return answer
