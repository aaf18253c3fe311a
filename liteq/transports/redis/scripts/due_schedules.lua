-- with: reading
-- Return the schedules whose moment has come, the earliest first, each {name, record}.
local now, limit = unpack(cmsgpack.unpack(ARGV[1]))
local found = {}
for at, name in ipairs(call('ZRANGEBYSCORE', P .. 'ticks', '-inf', now, 'LIMIT', 0, limit)) do
  found[at] = { name, call('HGET', P .. 'schedules', name) or '' }
end
return pack(found)
