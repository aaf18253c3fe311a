-- Storing new jobs; apart from the moves, because most calls store one job and need nothing else.

-- Take a finished job away to make room for a new one of its id; false if it is not finished.
local function give_way(id, seq)
  local ok, r = pcall(cmsgpack.unpack, call('HGET', P .. 'jobs', seq) or '')
  if ok and type(r) == 'table' and type(r[3]) == 'number' and r[3] ~= 3 then
    return false
  end
  call('ZREM', P .. 'ids', id)
  call('ZREM', P .. 'discarding', seq)
  call('HDEL', P .. 'jobs', seq)
  call('HDEL', P .. 'bodies', seq)
  if ok and type(r) == 'table' and type(r[2]) == 'string' and r[3] == 3 and type(r[4]) == 'string' then
    local kind = '3' .. #r[4] .. ':' .. r[4] .. r[2]
    count(kind, -1)
  end
  return true
end

-- Return where each id stands already, or false.
local function standing(jobs)
  local found = {}
  for first = 1, #jobs, MOST do
    local last = math.min(first + MOST - 1, #jobs)
    local wanted = {}
    for at = first, last do
      wanted[#wanted + 1] = jobs[at][1]
    end
    for at, score in ipairs(call('ZMSCORE', P .. 'ids', unpack(wanted))) do
      found[first + at - 1] = score
    end
  end
  return found
end

-- Store jobs, each {id, number of its lane, due, place, expires, record, body}; return 1 or 0 for each. The
-- place is what `place` of the moves makes of it, without the job's own number, which comes last in it. `lanes`
-- holds {lane, queue}, and `origins` the origin of each lane's task, or false.
local function store(now, lanes, jobs, origins)
  local n = #jobs
  if n == 0 then
    return {}
  end
  local last = call('INCRBY', P .. 'seq', n)
  if last == n then
    found()
  end
  local stands = standing(jobs)
  local ids, records, bodies, delayed, expiring, ready, counts, stored = {}, {}, {}, {}, {}, {}, {}, {}
  local taken, rung = {}, {}
  for at, job in ipairs(jobs) do
    local id, lane, due = job[1], job[2], job[3]
    if taken[id] or (stands[at] and not give_way(id, stands[at])) then
      stored[at] = 0
    else
      local seq = last - n + at
      local name = lanes[lane][1]
      stored[at] = 1
      taken[id] = true
      ids[#ids + 1] = seq
      ids[#ids + 1] = id
      records[#records + 1] = seq
      records[#records + 1] = job[6]
      bodies[#bodies + 1] = seq
      bodies[#bodies + 1] = job[7]
      local station = '0'
      if due <= now then
        local list = ready[name]
        if not list then
          list = {}
          ready[name] = list
        end
        list[#list + 1] = 0
        list[#list + 1] = job[4] .. struct.pack('>I8', seq)
      else
        station = '1'
        delayed[#delayed + 1] = due
        delayed[#delayed + 1] = seq
      end
      if job[5] then
        expiring[#expiring + 1] = job[5]
        expiring[#expiring + 1] = seq
      end
      if due - now <= 1 then
        rung[lanes[lane][2]] = true
      end
      local kind = station .. '7:PENDING' .. name
      counts[kind] = (counts[kind] or 0) + 1
      local origin = origins[lane]
      if origin then
        call('HSET', P .. 'origins', origin[1], origin[2])
        origins[lane] = false
      end
    end
  end
  spread('ZADD', P .. 'ids', ids)
  spread('HSET', P .. 'jobs', records)
  spread('HSET', P .. 'bodies', bodies)
  for name, list in pairs(ready) do
    spread('ZADD', P .. 'ready:' .. name, list)
    call('ZADD', P .. 'lanes', 0, name)
  end
  spread('ZADD', P .. 'delayed', delayed)
  spread('ZADD', P .. 'expiring', expiring)
  for kind, number in pairs(counts) do
    count(kind, number)
  end
  local queues = {}
  for queue in pairs(rung) do
    queues[#queues + 1] = queue
  end
  if #queues > 0 then
    call('PUBLISH', P .. 'jobs', table.concat(queues, '\n'))
  end
  return stored
end
