-- with: closing
-- What every script that changes something begins with.
--
-- KEYS[1] is "{PREFIX}:liteq". All other keys of a store begin like it, so that a store lies in one slot of
-- a cluster, and are named here by what follows the tag.
--
-- ARGV[3] and ARGV[4] are a caller (one thread of one program) and the number of its call, ARGV[5] the
-- seconds for which its reply is kept. A caller sends the same call again when the connection broke before
-- the reply came; then nobody knows whether the first has run, or will still run. So the last number and
-- reply of each caller are kept, and each number runs once, in whatever order they arrive.
local call, pack = redis.call, cmsgpack.pack
local P = string.sub(KEYS[1], 1, -6)
local MOST = 4000 -- values handed to one command; Lua's stack ends at about 8,000
local KEPT = P .. 'caller:' .. ARGV[3]
local STALE = 'STALE this call came after a later one of its caller, and was not run'

local function closed()
  return refusal_of(call('GET', P .. 'closed'))
end

-- Return the mark of a closed store if it is that of this move.
local function closed_for(id)
  local ok, said = pcall(cmsgpack.unpack, call('GET', P .. 'closed') or '')
  return ok and type(said) == 'table' and said[1] == id and said or nil
end

-- Return the reply to this very call if it has run, or an error if it comes after a later one.
local function repeated()
  local kept = call('GET', KEPT)
  if not kept then
    return nil
  end
  local cut = string.find(kept, ' ', 1, true)
  local last, number = tonumber(string.sub(kept, 1, cut - 1)), tonumber(ARGV[4])
  if number == last then
    return string.sub(kept, cut + 1)
  end
  if number < last then
    return redis.error_reply(STALE)
  end
  return nil
end

-- The same, for what a closed store refuses.
local function recall()
  return repeated() or closed()
end

local function remember(reply)
  call('SET', KEPT, ARGV[4] .. ' ' .. reply, 'EX', ARGV[5])
  return reply
end

-- Say that these keys are a store, also when somebody has emptied the database under those who use it.
local function found()
  call('HSETNX', KEYS[1], 'format', 1)
end

-- Call a command with a list of any length.
local function spread(command, key, list)
  for first = 1, #list, MOST do
    call(command, key, unpack(list, first, math.min(first + MOST - 1, #list)))
  end
end

-- Count jobs of a kind; a count that is none, because somebody has changed it, begins anew.
local function count(kind, n)
  local left = redis.pcall('HINCRBY', P .. 'counts', kind, n)
  if type(left) ~= 'number' or left <= 0 then
    call('HDEL', P .. 'counts', kind)
  end
end

-- Numbers that were never given before. They follow the server's clock, because a server that lost its last
-- second in a crash, or a database that was emptied, would give them again if it only counted.
local function fresh(counter, n, unit)
  local time = call('TIME')
  local moment = tonumber(time[1]) * unit + math.floor(tonumber(time[2]) * unit / 1000000)
  local last = tonumber(call('GET', P .. counter) or 0)
  -- What somebody else has written there may be no number at all.
  local first = last and last > 0 and last < 9e15 and math.max(last + 1, moment) or moment
  call('SET', P .. counter, string.format('%.0f', first + n - 1))
  return first
end
