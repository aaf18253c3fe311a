-- with: base
-- Take the mark of a move away; return whether it was there.
local kept = repeated()
if kept then
  return kept
end
if not closed_for(cmsgpack.unpack(ARGV[6])[1]) then
  return pack(false)
end
call('DEL', P .. 'closed')
return remember(pack(true))
