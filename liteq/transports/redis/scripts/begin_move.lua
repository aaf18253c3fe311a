-- with: base
-- Close this store, unless it is closed, and return its mark: {move, target, began, ended or false}. False if
-- there are workers beside those that the caller has looked at, or one that holds jobs.
local id, target, now, seen = unpack(cmsgpack.unpack(ARGV[6]))
local mark = call('GET', P .. 'closed')
if mark then
  return mark
end
local known = {}
for _, holder in ipairs(seen) do
  known[string.format('%.0f', holder)] = true
end
local holders = call('SMEMBERS', P .. 'holders')
for _, holder in ipairs(holders) do
  if tonumber(holder) and not known[holder] or call('EXISTS', P .. 'leases:' .. holder) == 1 then
    return pack(false)
  end
end
for _, holder in ipairs(holders) do
  call('DEL', P .. 'worker:' .. holder)
end
call('DEL', P .. 'holders')
found()
mark = pack({ id, target, now, false })
call('SET', P .. 'closed', mark)
return mark
