-- Sets scores of one lane's members in a generation that is being built.
-- KEYS: the positions, then boards.
-- ARGV: lane, epoch, position (or '' while more is to come), time, for each board the seconds it is
-- kept (0: for ever); then (board, member, score) to the end. A score of 0 means not on the board.
-- Answers 1, or 0 when a later turn of the lane has begun.
local positions = KEYS[1]
local lane, epoch, position = ARGV[1], ARGV[2], ARGV[3]
local held = redis.call('HGET', positions, 'epoch:' .. lane)
if held and tonumber(held) > tonumber(epoch) then
  return 0
end
redis.call('HSET', positions, 'epoch:' .. lane, epoch)
-- Whoever finds no position knows that the lane's part is not complete.
redis.call('HDEL', positions, 'position:' .. lane)
for entry = 4 + #KEYS, #ARGV, 3 do
  local board = KEYS[1 + tonumber(ARGV[entry])]
  if ARGV[entry + 2] == '0' then
    redis.call('ZREM', board, ARGV[entry + 1])
  else
    redis.call('ZADD', board, ARGV[entry + 2], ARGV[entry + 1])
  end
end
for board = 2, #KEYS do
  local keep = tonumber(ARGV[board + 3])
  if keep > 0 and redis.call('TTL', KEYS[board]) == -1 then
    redis.call('EXPIRE', KEYS[board], keep)
  end
end
if position ~= '' then
  redis.call('HSET', positions, 'position:' .. lane, position, 'as_of:' .. lane, ARGV[4])
end
return 1
