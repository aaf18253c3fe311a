-- The stations of a job, and the moves between them. Moves are gathered, and `flush` writes them with few
-- commands; a phase that reads what another has moved flushes in between.
local ID, LANE, STATION, STATE, PRIORITY, DUE, EXPIRES = 1, 2, 3, 4, 5, 6, 7
local ATTEMPTS, RETRIES, CRASHES, IGNORE, KEEP, TOKEN, HOLDER = 8, 9, 10, 11, 12, 13, 14
local STARTED, DONE, DISCARD, RESULT, REASON = 15, 16, 17, 18, 19
local READY, DELAYED, LEASED, FINISHED = 0, 1, 2, 3
local SOON = 1 -- seconds; sleepers look this often by themselves, so jobs due later need no ring

local entering, leaving, changed, dropped, tallies = {}, {}, {}, {}, {}
local opened, parted, rung, ended = {}, {}, {}, {}
local loaded = {} -- records by the numbers of their jobs; false for those that this script has dropped

local function is_whole(value, least, most)
  return type(value) == 'number' and value >= least and value <= most and value % 1 == 0
end

local function is_time(value)
  return type(value) == 'number' and value > -1e12 and value < 1e12
end

local function may_be_time(value)
  return value == false or is_time(value)
end

-- Return a record, or nil for what is none.
local function read(raw)
  local ok, r = pcall(cmsgpack.unpack, raw or '')
  if ok and type(r) == 'table' and #r == REASON
    and type(r[ID]) == 'string' and type(r[LANE]) == 'string' and type(r[STATE]) == 'string'
    and is_whole(r[STATION], READY, FINISHED) and is_whole(r[PRIORITY], -32768, 32767) and is_time(r[DUE])
    and is_whole(r[ATTEMPTS], 0, 2147483647) and is_whole(r[RETRIES], 0, 2147483647)
    and is_whole(r[CRASHES], 0, 2147483647) and is_whole(r[TOKEN], 0, 9007199254740991)
    and type(r[IGNORE]) == 'boolean' and is_time(r[KEEP]) and may_be_time(r[EXPIRES])
    and may_be_time(r[DISCARD]) and (r[HOLDER] == false or is_whole(r[HOLDER], 0, 9007199254740991)) then
    return r
  end
  return nil
end

-- Return the records of many jobs, the same one each time. Their numbers may be texts, as commands return
-- them, and are numbers afterwards.
local function load(seqs)
  local found = {}
  for first = 1, #seqs, MOST do
    local last = math.min(first + MOST - 1, #seqs)
    for at = first, last do
      seqs[at] = tonumber(seqs[at])
    end
    local raw = call('HMGET', P .. 'jobs', unpack(seqs, first, last))
    for at = first, last do
      local seq = seqs[at]
      if loaded[seq] == nil then
        loaded[seq] = read(raw[at - first + 1])
      end
      found[at] = loaded[seq] or nil
    end
  end
  return found
end

local function complement(bytes)
  return (string.gsub(bytes, '.', function(c) return string.char(255 - string.byte(c)) end))
end

-- Where a job stands among the ready ones: members of one score are in the order of their bytes.
local function place(r, seq)
  local due = r[DUE] + 0
  if due < 0 then
    return struct.pack('>HB', 32767 - r[PRIORITY], 0) .. complement(struct.pack('>d', due))
      .. struct.pack('>I8', seq)
  end
  return struct.pack('>HBdI8', 32767 - r[PRIORITY], 1, due, seq)
end

-- Return the queue and the task of a lane.
local function parts(lane)
  local colon = string.find(lane, ':', 1, true) or 0
  local length = tonumber(string.sub(lane, 1, colon - 1)) or 0
  return string.sub(lane, colon + length + 1), string.sub(lane, colon + 1, colon + length)
end

local function queue_of(lane)
  return (parts(lane))
end

local function tally(r, n)
  local kind = r[STATION] .. #r[STATE] .. ':' .. r[STATE] .. r[LANE]
  tallies[kind] = (tallies[kind] or 0) + n
end

local function add(key, score, member)
  local list = entering[key]
  if not list then
    list = {}
    entering[key] = list
  end
  list[#list + 1] = score
  list[#list + 1] = member
end

local function remove(key, member)
  local list = leaving[key]
  if not list then
    list = {}
    leaving[key] = list
  end
  list[#list + 1] = member
end

local function leave(seq, r)
  tally(r, -1)
  local station = r[STATION]
  if station == LEASED then
    if r[HOLDER] then
      remove('leases:' .. r[HOLDER], seq)
      parted[r[HOLDER]] = true
      r[HOLDER] = false
    end
  elseif station == FINISHED then
    if r[DISCARD] then
      remove('discarding', seq)
      r[DISCARD] = false
    end
  else
    if station == READY then
      remove('ready:' .. r[LANE], place(r, seq))
    else
      remove('delayed', seq)
    end
    if r[EXPIRES] then
      remove('expiring', seq)
    end
  end
end

-- Let a job wait for `due`, wherever it was; with a `state`, in that and with what is said about it.
local function wait(seq, r, due, now, state, result, reason)
  leave(seq, r)
  r[DUE] = due
  if state then
    r[STATE], r[RESULT], r[REASON] = state, result, reason
  end
  if due <= now then
    r[STATION] = READY
    add('ready:' .. r[LANE], 0, place(r, seq))
    opened[r[LANE]] = true
  else
    r[STATION] = DELAYED
    add('delayed', due, seq)
  end
  if r[EXPIRES] then
    add('expiring', r[EXPIRES], seq)
  end
  tally(r, 1)
  changed[seq] = r
  if due - now <= SOON then
    rung[queue_of(r[LANE])] = true
  end
end

local function drop(seq, r)
  leave(seq, r)
  changed[seq], loaded[seq] = nil, false
  dropped[#dropped + 1] = { seq, r[ID] }
end

local function finish(seq, r, state, at, result, reason, keeps)
  ended[#ended + 1] = r[ID]
  if not keeps then
    return drop(seq, r)
  end
  leave(seq, r)
  r[STATION], r[STATE], r[DONE], r[RESULT], r[REASON] = FINISHED, state, at, result, reason
  if r[KEEP] ~= 0 then
    r[DISCARD] = at + r[KEEP]
    add('discarding', r[DISCARD], seq)
  end
  tally(r, 1)
  changed[seq] = r
end

-- Take a job off the leases of whoever holds it, where its record does not say who.
local function disown(seq)
  for _, holder in ipairs(call('SMEMBERS', P .. 'holders')) do
    if call('ZREM', P .. 'leases:' .. holder, seq) == 1 then
      parted[holder] = true
    end
  end
end

-- End a job whose record makes no sense; what is left of it is its number and, mostly, its id.
local function quarantine(seq, lane, now)
  local id = call('ZRANGEBYSCORE', P .. 'ids', seq, seq, 'LIMIT', 0, 1)[1] or ''
  call('ZREM', P .. 'delayed', seq)
  call('ZREM', P .. 'expiring', seq)
  disown(seq)
  if id == '' and call('HEXISTS', P .. 'jobs', seq) == 0 then
    return
  end
  local r = { id, lane or '0:', FINISHED, 'FAILURE', 0, now, false, 0, 0, 0, false, 86400, 0, false, false,
    now, now + 86400, false, 'damaged: its record makes no sense; it was not run' }
  add('discarding', r[DISCARD], seq)
  tally(r, 1)
  changed[seq], loaded[seq] = r, r
  ended[#ended + 1] = id
end

local function flush()
  -- Removing first: it needs no memory, and what follows is let pass by a server that has no more of it.
  for key, members in pairs(leaving) do
    spread('ZREM', P .. key, members)
  end
  if #dropped > 0 then
    local seqs, gone = {}, {}
    for at, pair in ipairs(dropped) do
      seqs[at], gone[at] = pair[1], pair[2]
    end
    spread('HDEL', P .. 'jobs', seqs)
    spread('HDEL', P .. 'bodies', seqs)
    spread('ZREM', P .. 'ids', gone)
  end
  for key, list in pairs(entering) do
    spread('ZADD', P .. key, list)
  end
  local written = {}
  for seq, r in pairs(changed) do
    written[#written + 1] = seq
    written[#written + 1] = pack(r)
  end
  spread('HSET', P .. 'jobs', written)
  for kind, n in pairs(tallies) do
    if n ~= 0 then
      count(kind, n)
    end
  end
  for lane in pairs(opened) do
    call('ZADD', P .. 'lanes', 0, lane)
  end
  for holder in pairs(parted) do
    if call('EXISTS', P .. 'leases:' .. holder, P .. 'worker:' .. holder) == 0 then
      call('SREM', P .. 'holders', holder)
    end
  end
  entering, leaving, changed, dropped, tallies, opened, parted = {}, {}, {}, {}, {}, {}, {}
end

-- Wake those whom the changes concern; return how many heard of a result.
local function ring()
  local queues, heard = {}, 0
  for queue in pairs(rung) do
    queues[#queues + 1] = queue
  end
  if #queues > 0 then
    call('PUBLISH', P .. 'jobs', table.concat(queues, '\n'))
  end
  if #ended > 0 then
    for _, id in ipairs(ended) do
      heard = heard + call('PUBLISH', P .. 'done:' .. id, '')
    end
    heard = heard + call('PUBLISH', P .. 'done', '')
  end
  return heard
end

-- Return the numbers and records of jobs by their ids, false for those that are not there.
local function named(ids)
  local found, seqs, places = {}, {}, {}
  for first = 1, #ids, MOST do
    local last = math.min(first + MOST - 1, #ids)
    for at, seq in ipairs(call('ZMSCORE', P .. 'ids', unpack(ids, first, last))) do
      found[first + at - 1] = false
      if seq then
        seqs[#seqs + 1] = seq
        places[#seqs] = first + at - 1
      end
    end
  end
  local records = load(seqs)
  for at, seq in ipairs(seqs) do
    found[places[at]] = records[at] and { seq, records[at] } or false
  end
  return found
end

-- Return the first jobs of a set by time whose time has come, and how many members were looked at. What is no
-- number of a job is taken out: it would stand in the way for ever.
local function ripe(key, now, limit)
  local members = call('ZRANGEBYSCORE', P .. key, '-inf', now, 'LIMIT', 0, limit)
  local seqs, odd = {}, {}
  for _, member in ipairs(members) do
    local seq = tonumber(member)
    if seq and is_whole(seq, 1, 9007199254740991) and string.format('%.0f', seq) == member then
      seqs[#seqs + 1] = seq
    else
      odd[#odd + 1] = member
    end
  end
  spread('ZREM', P .. key, odd)
  return seqs, #members
end

-- Revoke waiting jobs whose time has passed, the first `limit` of them; return how many.
local function expire(now, reason, limit)
  local seqs, number = ripe('expiring', now, limit)
  local records = load(seqs)
  for at, seq in ipairs(seqs) do
    local r = records[at]
    local expires = r and (r[STATION] == READY or r[STATION] == DELAYED) and r[EXPIRES]
    if not r then
      quarantine(seq, nil, now)
    elseif expires and expires <= now then
      finish(seq, r, 'REVOKED', now, false, reason, true)
    else
      remove('expiring', seq)
      if expires then
        add('expiring', expires, seq)
      end
    end
  end
  flush()
  return number
end
