-- with: base, lasting, moves, lanes
-- Settle what is finished and claim what is next.
--
-- A registered worker's last turn is noted with the worker, and for each of its callers: a claim whose reply
-- got lost would otherwise stay leased to a worker that lives, knows nothing of it, and renews it for ever.
-- So each turn says up to which number replies have arrived; a later claim is told again, or given back.
--
-- A server that lost its last second in a crash, or a replica that took over before it had all, brings back
-- leases that have ended, and their holder renews them for ever. So the turns of a worker are counted, and it
-- says how many it knows of. Where there were fewer, it is unregistered, and its leases are recovered.
local holder, now, acknowledged, seen, settlements, request, expired = unpack(cmsgpack.unpack(ARGV[6]))
local WORKER = P .. 'worker:' .. holder
local LEASES = P .. 'leases:' .. holder
local NOTE = 'turn:' .. ARGV[3]
local BATCH = 2000 -- jobs that one script moves; more would hold up everybody else
local PORTION = 32 -- bodies that are read at once
local ROOM = 8388608 -- bytes of bodies in one reply, but for a single job that brings more

local number = tonumber(ARGV[4])
local about = call('HMGET', WORKER, 'expires', 'timeout', NOTE, 'turns')
local turns = tonumber(about[4] or '') or 0
local expires, timeout = tonumber(about[1] or ''), tonumber(about[2] or '')
local registered = lasts(about[1], about[2])
local noted, note = pcall(cmsgpack.unpack, about[3] or '')
if not noted or type(note) ~= 'table' or #note ~= 5 then
  note = nil
end
if registered and turns < seen then
  registered, note = false, nil
  call('DEL', WORKER)
  if call('EXISTS', LEASES) == 0 then
    call('SREM', P .. 'holders', holder)
  end
end

-- Return what a claim told of a job, if that lease still holds.
local function told(seq, token, list)
  local raw = call('HGET', P .. 'jobs', seq)
  local r = read(raw)
  if r and r[STATION] == LEASED and r[TOKEN] == token then
    list[#list + 1] = seq
    list[#list + 1] = raw
    list[#list + 1] = call('HGET', P .. 'bodies', seq)
  end
end

local function told_again()
  local list = {}
  for at = 1, #note[2], 2 do
    told(note[2][at], note[2][at + 1], list)
  end
  return list
end

local lost = false
if note then
  if number == note[1] then
    return pack({ told_again(), note[3], note[4], note[5], turns })
  end
  if number < note[1] then
    return redis.error_reply(STALE)
  end
  lost = note[1] > acknowledged
elseif not registered then
  local kept = recall()
  if kept then
    return kept
  end
end


local function settle()
  local seqs, refused, settled = {}, {}, {}
  for at, to in ipairs(settlements) do
    seqs[at] = to[1]
  end
  local records = load(seqs)
  for at, to in ipairs(settlements) do
    local seq, token, state, moment, due, attempts, retries, crashes, result, reason, keeps = unpack(to)
    local r = records[at]
    local matches = r and r[TOKEN] == token
    if matches and r[STATION] == LEASED and not settled[seq] then
      settled[seq] = true
      r[ATTEMPTS], r[RETRIES], r[CRASHES] = attempts, retries, crashes
      if due then
        wait(seq, r, due, now, state, result, reason)
      else
        finish(seq, r, state, moment, result, reason, keeps and not (r[IGNORE] and state == 'SUCCESS'))
      end
    -- After a lost reply, this may be the very settlement that has ended the lease.
    elseif settled[seq] or not lost or (r and not matches) then
      refused[#refused + 1] = at
    end
    if not r and call('HEXISTS', P .. 'jobs', seq) == 1 then
      quarantine(seq, nil, now)
    elseif not r then
      disown(seq)
    end
  end
  flush()
  return refused
end

-- Make delayed jobs ready that are due; true if there may be more of them.
local function promote()
  local seqs, number = ripe('delayed', now, BATCH)
  local records, others = load(seqs), rung
  for at, seq in ipairs(seqs) do
    local r = records[at]
    if not r then
      quarantine(seq, nil, now)
    elseif r[STATION] == DELAYED then
      wait(seq, r, r[DUE], now)
    else
      remove('delayed', seq)
    end
  end
  rung = others -- those who sleep know from `next_due` when to come
  flush()
  return number == BATCH
end

-- Return the lanes with ready jobs that the request would take from, each with its key and cost.
local function serving()
  local found = open_lanes(request[1], request[2])
  for at, lane in ipairs(found) do
    local _, task = parts(lane)
    found[at] = { lane = lane, key = P .. 'ready:' .. lane, cost = math.max(1, request[1][task]), taken = 0 }
  end
  return found
end

-- Read the next members of a lane; false at its end, and a lane that was empty from the start is closed.
local function refill(lane, size)
  local odd
  repeat
    odd = {}
    lane.members = call('ZRANGE', lane.key, lane.taken, lane.taken + size - 1)
    for _, member in ipairs(lane.members) do
      if #member ~= 19 then
        odd[#odd + 1] = member
      end
    end
    spread('ZREM', lane.key, odd)
  until #odd == 0
  lane.at = 1
  if #lane.members == 0 then
    if lane.taken == 0 then
      call('ZREM', P .. 'lanes', lane.lane)
    end
    return false
  end
  return true
end

-- Where the next member of a lane stands. Not its bytes: Lua compares texts by the server's locale.
local function head(lane)
  local member = lane.members[lane.at]
  local priority, sign, due, seq = struct.unpack('>HBdI8', member)
  if sign == 0 then
    due = struct.unpack('>d', complement(string.sub(member, 4, 11)))
  end
  lane.priority, lane.due, lane.seq = priority, due, seq
end

local function before(a, b)
  if a.priority ~= b.priority then
    return a.priority < b.priority
  end
  if a.due ~= b.due then
    return a.due < b.due
  end
  return a.seq < b.seq
end

-- Restore the heap of lanes below a place whose lane may come too early.
local function sink(lanes, at)
  local lane, n = lanes[at], #lanes
  while true do
    local child = 2 * at
    if child > n then
      break
    end
    if child < n and before(lanes[child + 1], lanes[child]) then
      child = child + 1
    end
    if not before(lanes[child], lane) then
      break
    end
    lanes[at] = lanes[child]
    at = child
  end
  lanes[at] = lane
end

-- Return the first jobs of the request's lanes, in their order, and the lane of each.
local function choose()
  local lanes, seqs, homes, spent = {}, {}, {}, 0
  local wanted = serving()
  local size = math.ceil(request[4] / math.max(1, #wanted)) + 1
  for _, lane in ipairs(wanted) do
    if request[4] > 0 and refill(lane, math.min(size, math.floor(request[3] / lane.cost) + 1)) then
      head(lane)
      lanes[#lanes + 1] = lane
    end
  end
  for at = math.floor(#lanes / 2), 1, -1 do
    sink(lanes, at)
  end
  while #lanes > 0 and #seqs < request[4] do
    local lane = lanes[1]
    spent = spent + lane.cost
    if #seqs > 0 and spent > request[3] then
      break
    end
    seqs[#seqs + 1] = lane.seq
    homes[#seqs] = lane
    lane.taken = lane.taken + 1
    lane.at = lane.at + 1
    if lane.at > #lane.members and not refill(lane, size) then
      lanes[1] = lanes[#lanes]
      lanes[#lanes] = nil
    else
      head(lane)
    end
    if #lanes > 1 then
      sink(lanes, 1)
    end
  end
  return seqs, homes
end

-- Take the first of the chosen jobs off their lanes; as many as were looked at.
local function take_off(homes, number)
  local counts = {}
  for at = 1, number do
    counts[homes[at].key] = (counts[homes[at].key] or 0) + 1
  end
  for key, count in pairs(counts) do
    call('ZREMRANGEBYRANK', key, 0, count - 1)
  end
end

-- Put the chosen jobs under a lease, until their payloads come to more than one reply should bring; those whose
-- records make no sense end instead.
local function lease(seqs, homes, list, leased)
  local records, token = load(seqs), fresh('token', #seqs, 1000000)
  local written, bodies, room, looked = {}, {}, ROOM, #seqs
  for at, seq in ipairs(seqs) do
    if (at - 1) % PORTION == 0 then
      bodies = call('HMGET', P .. 'bodies', unpack(seqs, at, math.min(at + PORTION - 1, #seqs)))
    end
    local r, body, lane = records[at], bodies[(at - 1) % PORTION + 1], homes[at].lane
    room = room - (body and #body or 0)
    if room < 0 and at > 1 then
      looked = at - 1
      break
    end
    if not r then
      quarantine(seq, lane, now)
    elseif r[STATION] ~= READY or r[LANE] ~= lane then
      -- It stands elsewhere; this place in the lane is a mistake, and is gone now.
    elseif not body then
      finish(seq, r, 'FAILURE', now, false, 'damaged: its arguments are missing; it was not run', true)
    else
      tally(r, -1)
      if r[EXPIRES] then
        remove('expiring', seq)
      end
      r[STATION], r[STATE], r[TOKEN], r[HOLDER] = LEASED, 'STARTED', token, holder
      r[STARTED], r[ATTEMPTS], r[RESULT], r[REASON] = now, r[ATTEMPTS] + 1, false, false
      tally(r, 1)
      add('leases:' .. holder, token, seq)
      local raw = pack(r)
      written[#written + 1], written[#written + 2] = seq, raw
      list[#list + 1], list[#list + 2], list[#list + 3] = seq, raw, body
      leased[#leased + 1], leased[#leased + 2] = seq, token
      token = token + 1
    end
  end
  take_off(homes, looked)
  spread('HSET', P .. 'jobs', written)
  flush()
end

local function claim()
  local list, leased = {}, {}
  if lost then
    list = told_again()
    if #list > 0 then
      return list, note[2]
    end
  end
  -- Those behind the damaged ones are not to wait for another turn.
  for _ = 1, 20 do
    local seqs, homes = choose()
    if #seqs == 0 then
      break
    end
    lease(seqs, homes, list, leased)
    if #list > 0 then
      break
    end
  end
  return list, leased
end

-- Let jobs wait again of whose claim nobody was told, where this turn tells of no claim.
local function hand_back()
  for at = 1, #note[2], 2 do
    local seq = note[2][at]
    local r = load({ seq })[1]
    if r and r[STATION] == LEASED and r[TOKEN] == note[2][at + 1] then
      r[ATTEMPTS] = r[ATTEMPTS] - 1
      wait(seq, r, r[DUE], now, 'PENDING', false, false)
    end
  end
  flush()
end

local refused = {}
if #settlements > 0 then
  refused = settle()
end
local more = promote()
more = expire(now, expired, BATCH) == BATCH or more
local claimed, leased, writes = {}, {}, { 'HSET', WORKER }
if registered and request and not more then
  local left = expires - now
  if left < timeout * 2 / 3 or left > timeout then
    writes[3], writes[4] = 'expires', now + timeout
  end
  claimed, leased = claim()
elseif lost then
  hand_back()
end
more = more and 1 or 0
local heard = ring()
local reply = pack({ claimed, refused, more, heard, registered and turns + 1 or 0 })
if registered then
  writes[#writes + 1], writes[#writes + 2] = NOTE, pack({ number, leased, refused, more, heard })
  writes[#writes + 1], writes[#writes + 2] = 'turns', turns + 1
  call(unpack(writes))
  return reply
end
return remember(reply)
