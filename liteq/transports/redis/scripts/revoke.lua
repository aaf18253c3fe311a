-- with: base, moves
-- Make waiting jobs REVOKED.
local kept = recall()
if kept then
  return kept
end
local ids, now, reason = unpack(cmsgpack.unpack(ARGV[6]))
local done = {}
for at, job in ipairs(named(ids)) do
  local r = job and job[2]
  done[at] = r and (r[STATION] == READY or r[STATION] == DELAYED) or false
  if done[at] then
    finish(job[1], r, 'REVOKED', now, false, reason, true)
  end
end
flush()
return remember(pack({ done, ring() }))
