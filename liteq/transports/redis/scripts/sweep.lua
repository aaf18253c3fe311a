-- with: base, moves
-- Drop finished jobs whose keeping time is over, and revoke waiting ones that have expired.
local kept = recall()
if kept then
  return kept
end
local now, limit, expired = unpack(cmsgpack.unpack(ARGV[6]))
local seqs, number = ripe('discarding', now, limit)
local records = load(seqs)
for at, seq in ipairs(seqs) do
  local r = records[at]
  local discard = r and r[STATION] == FINISHED and r[DISCARD]
  if discard and discard <= now then
    drop(seq, r)
  else
    remove('discarding', seq)
    if discard then
      add('discarding', discard, seq)
    end
    if not r then
      local id = call('ZRANGEBYSCORE', P .. 'ids', seq, seq, 'LIMIT', 0, 1)[1]
      dropped[#dropped + 1] = { seq, id or '' }
    end
  end
end
flush()
number = number + expire(now, expired, limit)
return remember(pack({ number, ring() }))
