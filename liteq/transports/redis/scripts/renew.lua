-- with: base
-- Set the expiry of those holders that are registered and have leases.
local holders, expires = unpack(cmsgpack.unpack(ARGV[6]))
for _, holder in ipairs(holders) do
  local worker = P .. 'worker:' .. holder
  if call('EXISTS', worker, P .. 'leases:' .. holder) == 2 then
    call('HSET', worker, 'expires', expires)
  end
end
return pack(true)
