-- One request against one bucket (GCRA). The key holds the time up to which it is spoken for, us.
-- KEYS[1] the bucket; ARGV[1] us from one request to the next; ARGV[2] requests at once.
-- Answers: allowed (0 or 1), how many more would pass now, us until full again or until allowed.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local interval = tonumber(ARGV[1])
local spoken_for = tonumber(redis.call('GET', KEYS[1]) or now)
if spoken_for < now then
  spoken_for = now
end
spoken_for = spoken_for + interval
local allowed_from = spoken_for - tonumber(ARGV[2]) * interval
if allowed_from > now then
  return {0, 0, allowed_from - now}
end
redis.call('SET', KEYS[1], string.format('%.0f', spoken_for), 'PX', math.ceil((spoken_for - now) / 1000))
return {1, math.floor((now - allowed_from) / interval), spoken_for - now}
