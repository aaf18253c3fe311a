-- with: reading
-- Look through the next jobs from the last stored one down; return those that a filter lets pass, and where
-- to go on.
local below, looks, limit, states, tasks, queues, since = unpack(cmsgpack.unpack(ARGV[1]))

local function among(names)
  if not names then
    return nil
  end
  local set = {}
  for _, name in ipairs(names) do
    set[name] = true
  end
  return set
end

states, tasks, queues = among(states), among(tasks), among(queues)

local function passes(raw)
  if not (states or tasks or queues or since) then
    return true
  end
  local ok, r = pcall(cmsgpack.unpack, raw)
  if not ok or type(r) ~= 'table' or type(r[2]) ~= 'string' then
    return false
  end
  local queue, task = parts(r[2])
  return (not states or states[r[4]]) and (not tasks or tasks[task]) and (not queues or queues[queue])
    and (not since or (type(r[16]) == 'number' and r[16] >= since))
end

local top = below and string.format('(%.0f', below) or '+inf'
local looked = call('ZREVRANGEBYSCORE', P .. 'ids', top, '-inf', 'WITHSCORES', 'LIMIT', 0, looks)
local seqs, found, room, last = {}, {}, ROOM, nil
for at = 2, #looked, 2 do
  seqs[#seqs + 1] = looked[at]
end
if #seqs > 0 then
  for at, raw in ipairs(call('HMGET', P .. 'jobs', unpack(seqs))) do
    if raw and passes(raw) then
      local body = call('HGET', P .. 'bodies', seqs[at])
      found[#found + 1] = { tonumber(seqs[at]), raw, body }
      room = room - #raw - #(body or '')
    end
    last = seqs[at]
    if #found >= limit or room < 0 then
      break
    end
  end
end
local is_end = #found >= limit or (#seqs < looks and last == seqs[#seqs])
return pack({ found, not is_end and tonumber(last) })
