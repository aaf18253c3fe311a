-- with: base
-- Note when the target had everything; return whether the store is closed for this move.
local id, now = unpack(cmsgpack.unpack(ARGV[6]))
local mark = closed_for(id)
if not mark then
  return pack(false)
end
if not mark[4] then
  mark[4] = now
  -- Removing first: what follows is let pass by a server that has no more memory.
  call('DEL', P .. 'closed')
  call('SET', P .. 'closed', pack(mark))
end
return pack(true)
