-- What every script that only reads begins with; see base for KEYS[1]. ARGV[1] is what it is asked.
local call, pack = redis.call, cmsgpack.pack
local P = string.sub(KEYS[1], 1, -6)
local ROOM = 8388608 -- bytes of records and bodies in one reply, but for a single job that brings more

-- Return the queue and the task of a lane.
local function parts(lane)
  local colon = string.find(lane, ':', 1, true) or 0
  local length = tonumber(string.sub(lane, 1, colon - 1)) or 0
  return string.sub(lane, colon + length + 1), string.sub(lane, colon + 1, colon + length)
end
