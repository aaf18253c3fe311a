-- Schedules: each {revision, whether it ticks, next run, last run, runs, last job, spec, the rest}.
local REVISION, TICKS, NEXT, LAST, RUNS, LAST_JOB, SPEC, REST = 1, 2, 3, 4, 5, 6, 7, 8

-- Return a schedule, or nil for one that is not there or whose record makes no sense.
local function schedule_of(name)
  local ok, s = pcall(cmsgpack.unpack, call('HGET', P .. 'schedules', name) or '')
  if ok and type(s) == 'table' and type(s[REVISION]) == 'number' and type(s[REST]) == 'string' then
    return s
  end
  return nil
end

local function put(name, s)
  call('HSET', P .. 'schedules', name, pack(s))
  if s[TICKS] and s[NEXT] then
    call('ZADD', P .. 'ticks', s[NEXT], name)
  else
    call('ZREM', P .. 'ticks', name)
  end
end
