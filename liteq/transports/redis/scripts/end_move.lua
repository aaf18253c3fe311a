-- with: base
-- Note when the target had everything; return whether the store is closed for this move.
local id, now = unpack(cmsgpack.unpack(ARGV[6]))
local mark = closed_for(id)
if not mark then
  return pack(false)
end
if not mark[4] then
  mark[4] = now
  call('SET', P .. 'closed', pack(mark))
end
return pack(true)
