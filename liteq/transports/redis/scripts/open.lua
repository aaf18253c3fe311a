-- Say that these keys are a store of liteq, if they are none yet; ARGV[3] is our format. Returns the format
-- that is there, or what it is that is in the way.
local P = string.sub(KEYS[1], 1, -6)
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then
  for _, name in ipairs({ 'seq', 'ids', 'jobs', 'bodies', 'lanes', 'counts', 'delayed', 'expiring', 'discarding',
    'origins', 'schedules', 'ticks', 'holders', 'holder', 'token', 'moves', 'closed' }) do
    if redis.call('EXISTS', P .. name) == 1 then
      return 'foreign ' .. P .. name
    end
  end
  redis.call('HSET', KEYS[1], 'format', ARGV[3])
elseif kind ~= 'hash' then
  return 'foreign ' .. KEYS[1]
end
return 'format ' .. (redis.call('HGET', KEYS[1], 'format') or '?')
