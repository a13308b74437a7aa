-- Makes a generation the one that readers use, if every lane is complete in this shard.
-- KEYS: the active generation, the positions of the new one. ARGV: generation, number of lanes.
-- Answers 1 when it is active.
for lane = 0, tonumber(ARGV[2]) - 1 do
  if redis.call('HEXISTS', KEYS[2], 'position:' .. lane) == 0 then
    return 0
  end
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
