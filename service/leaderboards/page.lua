-- Reads one shard's part of a board around a place, which is a score and a member.
-- KEYS: the positions, the board. ARGV: score ('' for the top), member, how many after the place,
-- how many before it.
-- Answers: how many have a score above 0, how many of them are above the score, how many are before
-- the place, how many with the one at the place, the time that the shard is good for (ms, '' when unknown), then those after the place
-- and those before it, best first, as member, score, member, score ...
local board = KEYS[2]
local score, place = ARGV[1], ARGV[2]

-- Redis orders members by their bytes, Lua's < by the locale.
local function less(one, other)
  for index = 1, math.min(#one, #other) do
    local a, b = string.byte(one, index), string.byte(other, index)
    if a ~= b then
      return a < b
    end
  end
  return #one < #other
end

local as_of = ''
local fields = redis.call('HGETALL', KEYS[1])
for index = 1, #fields, 2 do
  if string.sub(fields[index], 1, 6) == 'as_of:' then
    if as_of == '' or tonumber(fields[index + 1]) < tonumber(as_of) then
      as_of = fields[index + 1]
    end
  end
end

local size = redis.call('ZCOUNT', board, '(0', '+inf')
local above, first, last = 0, 0, 0
if score ~= '' then
  above = redis.call('ZCOUNT', board, '(' .. score, '+inf')
  -- Among equal scores the members run downwards: find the first that comes after the place.
  local from, to = above, above + redis.call('ZCOUNT', board, score, score)
  while from < to do
    local middle = math.floor((from + to) / 2)
    if less(redis.call('ZREVRANGE', board, middle, middle)[1], place) then
      to = middle
    else
      from = middle + 1
    end
  end
  first, last = from, from
  if last > above and redis.call('ZREVRANGE', board, last - 1, last - 1)[1] == place then
    last = last - 1
  end
end

local after, before = {}, {}
local until_rank = math.min(first + tonumber(ARGV[3]), size)
if until_rank > first then
  after = redis.call('ZREVRANGE', board, first, until_rank - 1, 'WITHSCORES')
end
local from_rank = math.max(last - tonumber(ARGV[4]), 0)
if last > from_rank then
  before = redis.call('ZREVRANGE', board, from_rank, last - 1, 'WITHSCORES')
end
return {size, above, last, first, as_of, after, before}
