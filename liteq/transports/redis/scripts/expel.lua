-- with: base
-- Unregister a worker, if it has not renewed since `seen`; return whether it is out.
local kept = repeated()
if kept then
  return kept
end
local holder, seen = unpack(cmsgpack.unpack(ARGV[6]))
local worker = P .. 'worker:' .. holder
local expires = call('HGET', worker, 'expires')
if seen and expires and tonumber(expires) ~= seen then
  return remember(pack(false))
end
call('DEL', worker)
if call('EXISTS', P .. 'leases:' .. holder) == 0 then
  call('SREM', P .. 'holders', holder)
end
return remember(pack(true))
