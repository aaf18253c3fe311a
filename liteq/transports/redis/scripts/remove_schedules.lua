-- with: base, timetable
-- Remove schedules, each if it is at the revision that was seen; one that makes no sense in any case.
local kept = recall()
if kept then
  return kept
end
local names, seen = unpack(cmsgpack.unpack(ARGV[6]))
local removed, any = {}, false
for at, name in ipairs(names) do
  local there = schedule_of(name)
  removed[at] = call('HEXISTS', P .. 'schedules', name) == 1
    and (not seen or not there or there[REVISION] == seen[at])
  if removed[at] then
    any = true
    call('HDEL', P .. 'schedules', name)
    call('ZREM', P .. 'ticks', name)
  end
end
if any then
  call('PUBLISH', P .. 'schedules', '')
end
return remember(pack(removed))
