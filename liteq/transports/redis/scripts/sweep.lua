-- with: base, moves
-- Drop finished jobs whose keeping time is over, and revoke waiting ones that have expired.
local kept = recall()
if kept then
  return kept
end
local now, limit, expired = unpack(cmsgpack.unpack(ARGV[6]))
local seqs = call('ZRANGEBYSCORE', P .. 'discarding', '-inf', now, 'LIMIT', 0, limit)
local records = load(seqs)
for at, seq in ipairs(seqs) do
  local r = records[at]
  if r and r[STATION] == FINISHED then
    drop(seq, r)
  else
    remove('discarding', seq)
    if not r then
      local id = call('ZRANGEBYSCORE', P .. 'ids', seq, seq, 'LIMIT', 0, 1)[1]
      dropped[#dropped + 1] = { seq, id or '' }
    end
  end
end
flush()
local number = #seqs + expire(now, expired, limit)
return remember(pack({ number, ring() }))
