-- with: reading
-- Return number, record and body of each job, or false where it is not there.
local ids = cmsgpack.unpack(ARGV[1])
local found = {}
for at, seq in ipairs(call('ZMSCORE', P .. 'ids', unpack(ids))) do
  local record = seq and call('HGET', P .. 'jobs', seq)
  found[at] = record and { tonumber(seq), record, call('HGET', P .. 'bodies', seq) } or false
end
return pack(found)
