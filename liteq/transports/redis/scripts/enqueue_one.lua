-- with: closing
-- Store one job: what most calls do, so it builds nothing that one job does not need. ARGV[6] on are id, lane,
-- queue to ring or '', place among the ready jobs or '', due, expires or '', record, body, and what it counts as.
-- Returns 1 in MessagePack, or 0 if the id is in use; then `enqueue` sees to it.
local call = redis.call
local P = string.sub(KEYS[1], 1, -6)
local KEPT = P .. 'caller:' .. ARGV[3]

local refusal = refusal_of(call('GET', P .. 'closed'))
if refusal then
  return refusal
end
-- As `recall` and `remember` of base, in one step.
local before = call('SET', KEPT, ARGV[4] .. ' \1', 'EX', ARGV[5], 'GET')
if before then
  local cut = string.find(before, ' ', 1, true)
  local last, number = tonumber(string.sub(before, 1, cut - 1)), tonumber(ARGV[4])
  if number <= last then
    call('SET', KEPT, before, 'EX', ARGV[5])
    if number < last then
      return redis.error_reply('STALE this call came after a later one of its caller, and was not run')
    end
    return string.sub(before, cut + 1)
  end
end

local seq = call('INCRBY', P .. 'seq', 1)
if seq == 1 then
  call('HSETNX', KEYS[1], 'format', 1)
end
if call('ZADD', P .. 'ids', 'NX', seq, ARGV[6]) == 0 then
  call('SET', KEPT, ARGV[4] .. ' \0', 'EX', ARGV[5])
  return '\0'
end
call('HSET', P .. 'jobs', seq, ARGV[12])
call('HSET', P .. 'bodies', seq, ARGV[13])
if ARGV[9] ~= '' then
  call('ZADD', P .. 'ready:' .. ARGV[7], 0, ARGV[9] .. struct.pack('>I8', seq))
  call('ZADD', P .. 'lanes', 0, ARGV[7])
else
  call('ZADD', P .. 'delayed', ARGV[10], seq)
end
if ARGV[11] ~= '' then
  call('ZADD', P .. 'expiring', ARGV[11], seq)
end
redis.pcall('HINCRBY', P .. 'counts', ARGV[14], 1)
if ARGV[8] ~= '' then
  call('PUBLISH', P .. 'jobs', ARGV[8])
end
return '\1'
