-- with: closing, reading
-- Return number, record and body of each job, or false where it is not there; of the first ones only, if they
-- come to more than one reply should bring.
local ids = cmsgpack.unpack(ARGV[1])
local found, room = {}, ROOM
for at, seq in ipairs(call('ZMSCORE', P .. 'ids', unpack(ids))) do
  local record = seq and call('HGET', P .. 'jobs', seq)
  found[at] = record and { tonumber(seq), record, call('HGET', P .. 'bodies', seq) } or false
  room = room - (record and #record + #(found[at][3] or '') or 0)
  if room < 0 then
    break
  end
end
-- Where a closed store was moved to, a job that is not here or not finished may have ended.
local mark = call('GET', P .. 'closed')
if mark then
  for at = 1, #found do
    local ok, r = pcall(cmsgpack.unpack, found[at] and found[at][2] or '')
    if not (ok and type(r) == 'table' and r[3] == 3) then
      return refusal_of(mark)
    end
  end
end
return pack(found)
