-- with: base, moves
-- Drop a finished job; an unfinished one will keep no success.
local kept = recall()
if kept then
  return kept
end
local job = named(cmsgpack.unpack(ARGV[6]))[1]
if job then
  if job[2][STATION] == FINISHED then
    drop(job[1], job[2])
  else
    job[2][IGNORE] = true
    changed[job[1]] = job[2]
  end
  flush()
end
return remember(pack(job and true or false))
