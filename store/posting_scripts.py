"""What a Valkey server of the sound index does in one step: Lua, run where the postings lie."""

from __future__ import annotations

LOOKUP = """
-- KEYS: epoch, prefix of the buckets. ARGV: epoch, hashes (4 bytes each), cost classes (a byte each), postings at most.
-- Answers rows and counts (uint32 pairs) and the postings, both in the order of the rows.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('EPOCH') end
local hashes, classes, most = ARGV[2], ARGV[3], tonumber(ARGV[4])
local rows = #hashes / 4
local prefix, call, sub, floor = KEYS[2], redis.call, string.sub, math.floor
local sizes, held, total = {}, {}, 0
-- Many at a time: a call costs more than a bucket, and few rows are asked that cannot be answered.
for first = 1, rows, 4000 do
  local keys, last = {}, math.min(rows, first + 3999)
  for row = first, last do keys[row - first + 1] = prefix .. sub(hashes, 4 * row - 3, 4 * row) end
  local values = call('MGET', unpack(keys))
  for row = first, last do
    local value = values[row - first + 1]
    held[row] = value
    sizes[row] = value and #value / 8 or 0
    total = total + sizes[row]
  end
end
if total > most then
  -- By class of cost, four classes for each doubling: the cheapest classes, and of the first that does not fit a part.
  local log, crowd, class = math.log, {}, {}
  for row = 1, rows do
    if sizes[row] > 0 then
      local cost = floor(5.7707801636 * log(sizes[row])) + classes:byte(row)
      class[row] = cost
      crowd[cost] = (crowd[cost] or 0) + sizes[row]
    end
  end
  local spent, last = 0, -1
  for cost = 0, 511 do
    if crowd[cost] then
      if spent + crowd[cost] > most then last = cost break end
      spent = spent + crowd[cost]
    end
  end
  local left = most - spent
  -- From all over the query: by steps of the golden section.
  local step = floor(rows * 0.618) + 1
  local function common(a, b) while b > 0 do a, b = b, a % b end return a end
  while common(step, rows) > 1 do step = step + 1 end
  local row = 0
  for turn = 1, rows do
    row = (row + step) % rows
    local at = row + 1
    if class[at] and class[at] >= last and last >= 0 then
      if class[at] == last and sizes[at] <= left then left = left - sizes[at] else sizes[at] = 0 end
    end
  end
end
local found, postings, number = {}, {}, 0
for row = 1, rows do
  if sizes[row] > 0 then
    number = number + 1
    found[number] = struct.pack('<I4I4', row - 1, sizes[row])
    postings[number] = held[row]
  end
end
return {table.concat(found), table.concat(postings)}
"""

APPEND = """
-- KEYS: epoch, prefix of the buckets. ARGV: epoch, postings a bucket at most, and for many buckets one after the other
-- hash (4 bytes), number of postings (4 bytes), postings. Answers how many postings were dropped.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('EPOCH') end
local most, packed, dropped, at = 8 * tonumber(ARGV[2]), ARGV[3], 0, 1
local sub, call, prefix = string.sub, redis.call, KEYS[2]
while at <= #packed do
  local size = 8 * struct.unpack('<I4', packed, at + 4)
  local key, held = prefix .. sub(packed, at, at + 3), nil
  held = call('GET', key) or ''
  local room = math.max(0, most - #held)
  if size > room then dropped = dropped + (size - room) / 8 end
  -- Not APPEND: that keeps as much again free for what may come.
  if room > 0 then call('SET', key, held .. sub(packed, at + 8, at + 7 + math.min(size, room))) end
  at = at + 8 + size
end
return dropped
"""

COMMIT = """
-- KEYS: head, log, ids, lock, pending, dead. ARGV: token, epoch, last_seq, postings dropped, then entries of the log,
-- each as number, frames (0: gone), whether it is an effect, sequence number, sound_id. Nothing is done if the lock or
-- the epoch is another's.
if redis.call('GET', KEYS[4]) ~= ARGV[1] then return redis.error_reply('LOCK') end
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[2] then return redis.error_reply('EPOCH') end
for at = 5, #ARGV, 5 do
  local number, frames, sound_id = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 4]
  redis.call('RPUSH', KEYS[2], struct.pack('<I8I4B', tonumber(number), frames, tonumber(ARGV[at + 2])))
  if frames > 0 then
    redis.call('HSET', KEYS[3], sound_id, number .. ' ' .. ARGV[at + 3])
    redis.call('ZREM', KEYS[5], number)
  else
    local held = redis.call('HGET', KEYS[3], sound_id)
    if held and string.sub(held, 1, #number + 1) == number .. ' ' then redis.call('HDEL', KEYS[3], sound_id) end
    redis.call('ZADD', KEYS[6], redis.call('TIME')[1], number)
  end
end
redis.call('HSET', KEYS[1], 'last_seq', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'dropped', ARGV[4])
return 1
"""

FORGET = """
-- KEYS: epoch, prefix of the buckets. ARGV: epoch, numbers of sounds (8 bytes each), hashes (4 bytes each).
-- Takes the postings of these sounds out of these buckets; answers how many.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('EPOCH') end
local dead, freed = {}, 0
for at = 1, #ARGV[2], 8 do dead[string.sub(ARGV[2], at, at + 7)] = true end
for at = 1, #ARGV[3], 4 do
  local key = KEYS[2] .. string.sub(ARGV[3], at, at + 3)
  local held = redis.call('GET', key)
  if held then
    local kept, number = {}, 0
    for place = 1, #held, 8 do
      local low, high = struct.unpack('<I4I4', held, place)
      -- 21 bits of time below 43 bits of the sound's number.
      local sound = high * 2048 + math.floor(low / 2097152)
      if not dead[struct.pack('<I8', sound)] then
        number = number + 1
        kept[number] = string.sub(held, place, place + 7)
      end
    end
    freed = freed + #held / 8 - number
    if number == 0 then redis.call('DEL', key)
    elseif number < #held / 8 then redis.call('SET', key, table.concat(kept)) end
  end
end
return freed
"""

UNLOCK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
