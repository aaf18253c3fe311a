-- with: reading
-- Return schedules, each {name, record}: those named, or all.
local names = cmsgpack.unpack(ARGV[1])
local found = {}
if not names then
  local all = call('HGETALL', P .. 'schedules')
  for at = 1, #all, 2 do
    found[#found + 1] = { all[at], all[at + 1] }
  end
else
  for _, name in ipairs(names) do
    local record = call('HGET', P .. 'schedules', name)
    if record then
      found[#found + 1] = { name, record }
    end
  end
end
return pack(found)
