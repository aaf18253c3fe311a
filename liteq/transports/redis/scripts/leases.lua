-- with: reading
-- Return what a worker has under lease from a place on, in the order in which it claimed it; of the first ones
-- only, if they come to more than one reply should bring, and then where to go on.
local holder, from = unpack(cmsgpack.unpack(ARGV[1]))
local found, room = {}, ROOM
local seqs = call('ZRANGE', P .. 'leases:' .. holder, from, -1)
for at, seq in ipairs(seqs) do
  local record = call('HGET', P .. 'jobs', seq)
  if record then
    local body = call('HGET', P .. 'bodies', seq)
    found[#found + 1] = { tonumber(seq), record, body }
    room = room - #record - #(body or '')
  end
  if room < 0 and at < #seqs then
    return pack({ found, from + at })
  end
end
return pack({ found, false })
