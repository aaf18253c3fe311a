-- with: reading
-- Return the next jobs that nobody holds, in the order in which they were stored, each {number, id, record,
-- body}: so many, or fewer if they are large.
local after, limit, most = unpack(cmsgpack.unpack(ARGV[1]))
local from = after and string.format('(%.0f', after) or '-inf'
local found, size = {}, 0

local function is_leased(record)
  local ok, r = pcall(cmsgpack.unpack, record or '')
  return ok and type(r) == 'table' and r[3] == 2
end

-- Add a job; false if the batch is full.
local function put(seq, id)
  local record, body = call('HGET', P .. 'jobs', seq), call('HGET', P .. 'bodies', seq)
  if is_leased(record) then
    return true
  end
  size = size + #(record or '') + #(body or '')
  if #found >= limit or (#found > 0 and size > most) then
    return false
  end
  found[#found + 1] = { seq, id, record, body }
  return true
end

while true do
  local listed = call('ZRANGEBYSCORE', P .. 'ids', from, '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
  for at = 1, #listed, 2 do
    local seq = tonumber(listed[at + 1])
    from = string.format('(%.0f', seq)
    if not put(seq, listed[at]) then
      return pack(found)
    end
  end
  if #listed < 2 * limit then
    return pack(found)
  end
end
