-- with: base, moves
-- Drop what was moved, so many jobs at a time, and with the last of them all else; return how much went.
local kept = repeated()
if kept then
  return kept
end
local id, limit = unpack(cmsgpack.unpack(ARGV[6]))
local mark = closed_for(id)
if not mark or not mark[4] then
  return pack(0)
end
local listed = call('ZRANGE', P .. 'ids', 0, limit - 1, 'WITHSCORES')
local seqs, ids = {}, {}
for at = 1, #listed, 2 do
  ids[#ids + 1] = listed[at]
  seqs[#seqs + 1] = listed[at + 1]
end
local records = load(seqs)
for at, seq in ipairs(seqs) do
  if records[at] then
    leave(seq, records[at])
  else
    remove('delayed', seq)
    remove('expiring', seq)
    remove('discarding', seq)
  end
  dropped[#dropped + 1] = { seq, ids[at] }
end
flush()
local gone = #seqs
if gone < limit then
  gone = gone + call('HLEN', P .. 'schedules')
  for _, lane in ipairs(call('ZRANGE', P .. 'lanes', 0, -1)) do
    call('DEL', P .. 'ready:' .. lane)
  end
  for _, name in ipairs({ 'schedules', 'ticks', 'lanes', 'counts', 'jobs', 'bodies' }) do
    call('DEL', P .. name)
  end
end
return remember(pack(gone))
