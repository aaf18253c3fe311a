-- with: base, moves, timetable
-- Store jobs as they were elsewhere, each {record, body}, with schedules and origins, and how far the move has
-- come: all of it, if that was as far as the caller has seen, or nothing. Returns {1, heard}, {0} or what is in
-- use: {2, ids, names}.
local id, seen, progress, jobs, schedules, origins = unpack(cmsgpack.unpack(ARGV[6]))
-- A closed store takes a note alone.
local kept = repeated() or (#jobs > 0 or #schedules > 0 or #origins > 0) and closed()
if kept then
  return kept
end
if call('HGET', P .. 'moves', id) ~= seen then
  return remember(pack({ 0 }))
end
local ids, taken, named = {}, {}, {}
for at, job in ipairs(jobs) do
  ids[at] = job[1][ID]
end
for first = 1, #ids, MOST do
  local last = math.min(first + MOST - 1, #ids)
  for at, seq in ipairs(call('ZMSCORE', P .. 'ids', unpack(ids, first, last))) do
    if seq then
      taken[#taken + 1] = ids[first + at - 1]
    end
  end
end
for _, schedule in ipairs(schedules) do
  if call('HEXISTS', P .. 'schedules', schedule[1]) == 1 then
    named[#named + 1] = schedule[1]
  end
end
if #taken > 0 or #named > 0 then
  return pack({ 2, taken, named })
end

found()
local numbered, bodies = {}, {}
local last = #jobs > 0 and call('INCRBY', P .. 'seq', #jobs) or 0
for at, job in ipairs(jobs) do
  local r, seq = job[1], last - #jobs + at
  if r[STATION] == READY then
    add('ready:' .. r[LANE], 0, place(r, seq))
    opened[r[LANE]] = true
  elseif r[STATION] == DELAYED then
    add('delayed', r[DUE], seq)
  elseif r[DISCARD] then
    add('discarding', r[DISCARD], seq)
  end
  if r[STATION] == FINISHED then
    ended[#ended + 1] = r[ID]
  else
    rung[queue_of(r[LANE])] = true
    if r[EXPIRES] then
      add('expiring', r[EXPIRES], seq)
    end
  end
  tally(r, 1)
  changed[seq] = r
  numbered[2 * at - 1], numbered[2 * at] = seq, r[ID]
  bodies[2 * at - 1], bodies[2 * at] = seq, job[2]
end
flush()
spread('ZADD', P .. 'ids', numbered)
spread('HSET', P .. 'bodies', bodies)
for _, origin in ipairs(origins) do
  call('HSETNX', P .. 'origins', origin[1], origin[2])
end
for _, schedule in ipairs(schedules) do
  put(schedule[1], schedule[2])
end
call('HSET', P .. 'moves', id, progress)
if #schedules > 0 then
  call('PUBLISH', P .. 'schedules', '')
end
return remember(pack({ 1, ring() }))
