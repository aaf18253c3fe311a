-- with: closing, reading, lanes
-- Return 0 if something that the request would take is ready, else when the next delayed job is due.
-- Also 0 where the server has forgotten turns of one of these workers: the next one finds that out.
local refusal = refusal_of(call('GET', P .. 'closed'))
if refusal then
  return refusal
end
local request, turns = unpack(cmsgpack.unpack(ARGV[1]))
local tasks, queues = unpack(request)
for holder, seen in pairs(turns) do
  local counted = call('HGET', P .. 'worker:' .. holder, 'turns')
  if counted and (tonumber(counted) or 0) < seen then
    return pack(0)
  end
end
for _, lane in ipairs(open_lanes(tasks, queues)) do
  if call('EXISTS', P .. 'ready:' .. lane) == 1 then
    return pack(0)
  end
end
return pack(tonumber(call('ZRANGE', P .. 'delayed', 0, 0, 'WITHSCORES')[2]) or false)
