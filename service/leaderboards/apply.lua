-- Applies a slice of a lane's outbox to one shard, together with the lane's position there.
-- KEYS: the active generation, the positions, then boards.
-- ARGV: lane, epoch, from, to, time of the slice (or ''), for each board the seconds it is kept (0:
-- for ever), the number of groups, each group as the number of its boards and their indexes; then
-- (group, member, change) to the end. The change 'forget' takes the member off the group's boards.
-- Answers: what happened, the position there, the active generation.
local positions = KEYS[2]
local lane, epoch, from, to, as_of = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local active = redis.call('GET', KEYS[1]) or ''
local held = redis.call('HMGET', positions, 'epoch:' .. lane, 'position:' .. lane)
if not held[2] then
  return {'missing', '', active}
end
if tonumber(held[1]) > tonumber(epoch) then
  return {'stale', held[2], active}
end
redis.call('HSET', positions, 'epoch:' .. lane, epoch)
if held[2] ~= from then
  return {'elsewhere', held[2], active}
end

local at = 6 + #KEYS - 2
local groups = {}
for group = 1, tonumber(ARGV[at]) do
  at = at + 1
  local boards = {}
  for board = 1, tonumber(ARGV[at]) do
    at = at + 1
    boards[board] = KEYS[2 + tonumber(ARGV[at])]
  end
  groups[group] = boards
end
for entry = at + 1, #ARGV, 3 do
  local member, change = ARGV[entry + 1], ARGV[entry + 2]
  for _, board in ipairs(groups[tonumber(ARGV[entry])]) do
    if change == 'forget' then
      redis.call('ZREM', board, member)
    elseif tonumber(redis.call('ZINCRBY', board, change, member)) == 0 then
      redis.call('ZREM', board, member)
    end
  end
end
for board = 3, #KEYS do
  local keep = tonumber(ARGV[board + 3])
  if keep > 0 and redis.call('TTL', KEYS[board]) == -1 then
    redis.call('EXPIRE', KEYS[board], keep)
  end
end
redis.call('HSET', positions, 'position:' .. lane, to)
if as_of ~= '' then
  redis.call('HSET', positions, 'as_of:' .. lane, as_of)
end
return {'applied', to, active}
