-- with: base, timetable
-- Store schedules, each where the store has it at the revision that was seen.
local kept = recall()
if kept then
  return kept
end
local saved, any = {}, false
for at, record in ipairs(cmsgpack.unpack(ARGV[6])) do
  local name, s, origin = record[1], record[2], record[3]
  local there = schedule_of(name)
  saved[at] = (there and there[REVISION] or 0) == s[REVISION]
  if saved[at] then
    any = true
    found()
    s[REVISION] = s[REVISION] + 1
    put(name, s)
    if origin then
      call('HSET', P .. 'origins', origin[1], origin[2])
    end
  end
end
if any then
  call('PUBLISH', P .. 'schedules', '')
end
return remember(pack(saved))
