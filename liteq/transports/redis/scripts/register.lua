-- with: base
-- Add a worker; return its number, which no other ever had.
local kept = recall()
if kept then
  return kept
end
local about, timeout, now = unpack(cmsgpack.unpack(ARGV[6]))
found()
local holder = fresh('holder', 1, 10000)
call('HSET', P .. 'worker:' .. holder, 'about', about, 'started', now, 'expires', now + timeout,
  'timeout', timeout)
call('SADD', P .. 'holders', holder)
return remember(pack(holder))
