-- with: base, moves
-- Put failed or revoked jobs back.
local kept = recall()
if kept then
  return kept
end
local ids, now = unpack(cmsgpack.unpack(ARGV[6]))
local done = {}
for at, job in ipairs(named(ids)) do
  local seq, r = job and job[1], job and job[2]
  done[at] = r and r[STATION] == FINISHED and (r[STATE] == 'FAILURE' or r[STATE] == 'REVOKED') or false
  if done[at] then
    tally(r, -1)
    r[STATE] = 'PENDING'
    tally(r, 1)
    r[ATTEMPTS], r[RETRIES], r[CRASHES] = 0, 0, 0
    r[STARTED], r[DONE], r[RESULT], r[REASON] = false, false, false, false
    if r[EXPIRES] and r[EXPIRES] <= now then
      r[EXPIRES] = false
    end
    wait(seq, r, now, now)
  end
end
flush()
return remember(pack({ done, ring() }))
