-- with: base, moves, storing, timetable
-- Move schedules on, each if it is at the revision that was seen, and store the jobs of their ticks.
local kept = recall()
if kept then
  return kept
end
local now, firings, lanes, origins, reason = unpack(cmsgpack.unpack(ARGV[6]))
local fired, jobs = {}, {}
for at, firing in ipairs(firings) do
  local name, revision, to = firing[1], firing[2], firing[3]
  local there = schedule_of(name)
  fired[at] = there ~= nil and there[REVISION] == revision
  if fired[at] then
    there[REVISION] = revision + 1
    there[NEXT], there[LAST], there[RUNS], there[LAST_JOB], there[SPEC] = unpack(to)
    put(name, there)
    -- All of them before the new jobs, one of which may have the id of one that gives way.
    for _, job in ipairs(named(firing[4])) do
      local r = job and job[2]
      if r and (r[STATION] == READY or r[STATION] == DELAYED) then
        finish(job[1], r, 'REVOKED', now, false, reason, true)
      end
    end
    for _, job in ipairs(firing[5]) do
      jobs[#jobs + 1] = job
    end
  end
end
flush()
store(now, lanes, jobs, origins)
return remember(pack({ fired, ring() }))
