-- with: reading
-- Return what a worker has under lease, in the order in which it claimed it.
local found = {}
for _, seq in ipairs(call('ZRANGE', P .. 'leases:' .. cmsgpack.unpack(ARGV[1]), 0, -1)) do
  local record = call('HGET', P .. 'jobs', seq)
  if record then
    found[#found + 1] = { tonumber(seq), record, call('HGET', P .. 'bodies', seq) }
  end
end
return pack(found)
