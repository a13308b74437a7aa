-- Reads one shard's parts of boards around places: a place is a score and a member.
-- KEYS: the active generation, the positions, then the board of each question. ARGV: the generation
-- that the keys are of, then for each question the score ('' for the top, 'own' for the member's),
-- the member, how many after the place, how many before it.
-- Answers: the active generation, and nothing else if it is another one; the time that the shard is
-- good for (ms, '' when unknown); then for each question two texts. The first has numbers: the score
-- of the place, how many have a score above 0, how many of them are above the place's, how many are
-- before the place, how many with the one at the place, how many are above the best of those told
-- before it, how many of them are told; then the scores of those before and after, best first. The
-- second has their members, of 16 bytes each.
local active = redis.call('GET', KEYS[1]) or ''
if active ~= ARGV[1] then
  return {active}
end

local as_of = ''
local fields = redis.call('HGETALL', KEYS[2])
for index = 1, #fields, 2 do
  if string.sub(fields[index], 1, 6) == 'as_of:' then
    if as_of == '' or tonumber(fields[index + 1]) < tonumber(as_of) then
      as_of = fields[index + 1]
    end
  end
end

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

-- How many are before a place, and how many with the one that is there.
local function index_of(board, score, member, above)
  local rank = redis.call('ZREVRANK', board, member)
  if rank and redis.call('ZSCORE', board, member) == score then
    return rank, rank + 1
  end
  -- Among equal scores the members run downwards: find the first that comes after the place.
  local from, to = above, above + redis.call('ZCOUNT', board, score, score)
  while from < to do
    local middle = math.floor((from + to) / 2)
    if less(redis.call('ZREVRANGE', board, middle, middle)[1], member) then
      to = middle
    else
      from = middle + 1
    end
  end
  return from, from
end

local function add(scores, members, board, first, last)
  if last > first then
    local found = redis.call('ZREVRANGE', board, first, last - 1, 'WITHSCORES')
    for index = 1, #found, 2 do
      members[#members + 1] = found[index]
      scores[#scores + 1] = found[index + 1]
    end
  end
end

local function around(board, score, member, after, before)
  local size = redis.call('ZCOUNT', board, '(0', '+inf')
  local above, first, last = 0, 0, 0
  if score == 'own' then
    score = redis.call('ZSCORE', board, member) or '0'
  end
  if score ~= '' then
    above = redis.call('ZCOUNT', board, '(' .. score, '+inf')
    last, first = index_of(board, score, member, above)
  end
  local scores, members = {}, {}
  add(scores, members, board, math.max(last - before, 0), last)
  local told, above_told = #scores, above
  if told > 0 then
    above_told = redis.call('ZCOUNT', board, '(' .. scores[1], '+inf')
  end
  add(scores, members, board, first, math.min(first + after, size))
  local numbers = {score == '' and 0 or score, size, above, last, first, above_told, told}
  return table.concat(numbers, ' ') .. ' ' .. table.concat(scores, ' '), table.concat(members)
end

local answer = {active, as_of}
for index = 3, #KEYS do
  local at = 4 * index - 10
  local numbers, members = around(KEYS[index], ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]),
    tonumber(ARGV[at + 3]))
  answer[#answer + 1] = numbers
  answer[#answer + 1] = members
end
return answer
