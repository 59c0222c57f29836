-- Counts a batch of each of some partitions exactly once: compares their stored states, counts, advances them.
-- Answers 1, how many tables of terms each of the batches' hours has that are not packed yet, and the greatest rank
-- of each set of samples that is full (-1 of others). Where a state is another one than the reader believes in,
-- nothing is counted: the answer is 0 and the stored states ('' for none). Where another generation is being
-- counted, -1.
--
-- KEYS  1   hash of the topic: partition -> "generation:offset", and "generation"
-- ARGV  1   the generation of all states afterwards
--       2   what all keys of the generation begin with; they share the hash tag of KEYS[1], so that they live
--           where it does
--       3   what is added, as MessagePack: see worker/trends/delta.py
--       4   the samples that are deleted, as MessagePack
--       5   the index of samples of today, the one of yesterday, and seconds until it goes
--       6
--       7
--       8   how many partitions
--       9   of each: the partition, the state that the reader believes in ('' for none), the state afterwards
--       ...
--           the packed tables of terms, in the order of their rows
--
-- States are compared as text, because Lua's numbers hold only 53 bits. Nothing newer than Redis 6.2 is used.

local generation, prefix, partitions = ARGV[1], ARGV[2], tonumber(ARGV[8])
local first_table = 9 + 3 * partitions

local as_believed, answer = true, {0}
for at = 9, first_table - 1, 3 do
  local stored = redis.call('HGET', KEYS[1], ARGV[at]) or ''
  answer[#answer + 1] = stored
  if stored ~= ARGV[at + 1] then
    as_believed = false
  end
end
if not as_believed then
  return answer
end
local current = redis.call('HGET', KEYS[1], 'generation')
if current and current ~= generation then
  return {-1}
end

-- First of all writes: a Redis that takes none (a replica, out of memory) refuses here, before any count.
for at = 9, first_table - 1, 3 do
  redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 2], 'generation', generation)
end

local names, rows, authors, adds, merges, terms, samples, outside, outside_kept, shapes, most_fields =
  unpack(cmsgpack.unpack(ARGV[3]))

local function expire(key, seconds)
  if seconds > 0 then
    redis.call('EXPIRE', key, seconds)
  end
end

-- Sources and languages: the first few are counted by name, the others together.
local settled = {}
local letters = {'s:', 'l:'}
for i, row in ipairs(names) do
  local key, most = prefix .. row[1], row[2]
  settled[i] = {}
  for _, name in ipairs(row[3]) do
    settled[i][name] = letters[i] .. name
    if name ~= 'other' and redis.call('SISMEMBER', key, name) == 0 then
      if redis.call('SCARD', key) < most then
        redis.call('SADD', key, name)
      else
        settled[i][name] = letters[i] .. 'other'
      end
    end
  end
  expire(key, row[4])
end

local function series_of(row)
  return row[2] == 0 and row[3] or settled[row[2]][row[3]]
end

for _, row in ipairs(rows) do
  local bucket, series, added = prefix .. row[1], series_of(row), row[5]
  local counts, scores = bucket .. ':n:' .. series, bucket .. ':s:' .. series
  for i = 1, #added, 3 do
    redis.call('HINCRBY', counts, added[i], added[i + 1])
    redis.call('HINCRBY', scores, added[i], added[i + 2])
  end
  expire(counts, row[4])
  expire(scores, row[4])
end

-- Authors are added once and looked up by number. Lua's stack takes some thousand arguments at a time.
for _, row in ipairs(adds) do
  local key, found = prefix .. row[1] .. ':a:' .. series_of(row), row[5]
  for first = 1, #found, 1000 do
    local some = {}
    for i = first, math.min(first + 999, #found) do
      some[#some + 1] = authors[found[i] + 1]
    end
    redis.call('PFADD', key, unpack(some))
  end
  expire(key, row[4])
end
for _, row in ipairs(merges) do
  local series = series_of(row)
  local key = prefix .. row[1] .. ':a:' .. series
  for _, hour in ipairs(row[5]) do
    redis.call('PFMERGE', key, key, prefix .. hour .. ':a:' .. series)
  end
  expire(key, row[4])
end

answer = {1}
for i, row in ipairs(terms) do
  local key = prefix .. row[1]
  answer[i + 1] = redis.call('RPUSH', key, ARGV[first_table + i - 1])
  expire(key, row[2])
  if answer[i + 1] == 1 then
    redis.call('SADD', prefix .. 'unpacked', string.match(row[1], '%-?%d+'))
    expire(prefix .. 'unpacked', row[2])
  end
end

-- Samples: each set keeps the posts of the smallest ranks. A member is the digest of the record's key (16
-- characters) and the post; a deleted post leaves its rank, and so its place is not given to another.
local today, yesterday = prefix .. ARGV[5], prefix .. ARGV[6]
local no_key = '----------------'
-- Bytes, some 200 samples: a key with more on one day (everything under one key) is sampled no further. The list
-- is copied with each sample, so that without a bound a batch of one key would take its square.
local longest_places = 8192

local function unlist(digest, place)
  for _, index in ipairs({today, yesterday}) do
    local places = redis.call('HGET', index, digest)
    if places then
      local first, last = string.find(places, place, 1, true)
      if first then
        places = string.sub(places, 1, first - 1) .. string.sub(places, last + 1)
        if places == '' then
          redis.call('HDEL', index, digest)
        else
          redis.call('HSET', index, digest, places)
        end
      end
    end
  end
end

-- Before the batch's own samples: what it writes anew under a deleted key is listed for the next deletion. And not
-- only of this generation: a post that a backfill has sampled too is deleted there as well.
for _, row in ipairs(cmsgpack.unpack(ARGV[4])) do
  local base, digest = row[1], row[3]
  for place, rank in string.gmatch(row[4], '(%S+)@(%d+) ') do
    local key = base .. place
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, rank, rank)) do
      if string.sub(member, 1, 16) == digest and #member > 16 then
        redis.call('ZREM', key, member)
        redis.call('ZADD', key, rank, rank)
      end
    end
  end
  redis.call('HDEL', base .. row[2], digest)
end

for _, row in ipairs(samples) do
  local key, most, posts = prefix .. row[1], row[3], row[4]
  for i = 1, #posts, 3 do
    local rank, digest, post = posts[i], posts[i + 1], posts[i + 2]
    local size = redis.call('ZCARD', key)
    local fits = size < most or rank < tonumber(redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
    local indexed = post ~= '' and digest ~= no_key
    local places = indexed and redis.call('HGET', today, digest) or ''
    if fits and #places < longest_places and redis.call('ZCOUNT', key, rank, rank) == 0 then
      redis.call('ZADD', key, rank, post ~= '' and digest .. post or string.format('%d', rank))
      if indexed then
        redis.call('HSET', today, digest, places .. row[1] .. '@' .. rank .. ' ')
        redis.call('EXPIRE', today, ARGV[7])
      end
      if size == most then
        local gone = redis.call('ZPOPMAX', key)
        unlist(string.sub(gone[1], 1, 16), row[1] .. '@' .. gone[2] .. ' ')
      end
    end
  end
  local full = redis.call('ZCARD', key) >= most
  answer[#answer + 1] = full and tonumber(redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2]) or -1
  -- Not prolonged, so that the index, which outlives it, lists all that it holds.
  if row[2] > 0 and redis.call('TTL', key) < 0 then
    redis.call('EXPIRE', key, row[2])
  end
end

for _, side in ipairs(outside) do
  redis.call('HINCRBY', prefix .. 'outside', side, 1)
end
expire(prefix .. 'outside', outside_kept)

for _, row in ipairs(shapes) do
  local key, added = prefix .. row[1], row[3]
  local full = redis.call('HLEN', key) >= most_fields
  for i = 1, #added, 2 do
    if not full or redis.call('HEXISTS', key, added[i]) == 1 then
      redis.call('HINCRBY', key, added[i], added[i + 1])
    end
  end
  expire(key, row[2])
end

return answer
