-- with: base, moves
-- Revoke the waiting jobs of some queues, of the next portion of all jobs up to a number.
--
-- A store may hold millions: one script would hold up everybody, so each looks at some, from the last one
-- down, and says where to go on.
local kept = recall()
if kept then
  return kept
end
local below, limit, queues, now, reason = unpack(cmsgpack.unpack(ARGV[6]))
local wanted = nil
if queues then
  wanted = {}
  for _, queue in ipairs(queues) do
    wanted[queue] = true
  end
end
local top = below and string.format('(%.0f', below) or '+inf'
local looked = call('ZREVRANGEBYSCORE', P .. 'ids', top, '-inf', 'WITHSCORES', 'LIMIT', 0, limit)
local seqs, purged = {}, 0
for at = 2, #looked, 2 do
  seqs[#seqs + 1] = looked[at]
end
local records = load(seqs)
for at, seq in ipairs(seqs) do
  local r = records[at]
  if r and (r[STATION] == READY or r[STATION] == DELAYED) and (not wanted or wanted[queue_of(r[LANE])]) then
    finish(seq, r, 'REVOKED', now, false, reason, true)
    purged = purged + 1
  end
end
flush()
return remember(pack({ purged, #seqs == limit and seqs[#seqs], ring() }))
