-- with: reading
-- Return the workers, each {number, about, started, expires, timeout, leases}; those who only hold leases any
-- more have nothing in between.
local found = {}
for _, holder in ipairs(call('SMEMBERS', P .. 'holders')) do
  local number = tonumber(holder)
  -- Only somebody else writes what is none.
  if number and number > 0 and number < 9e15 then
    local facts = call('HMGET', P .. 'worker:' .. holder, 'about', 'started', 'expires', 'timeout')
    found[#found + 1] = { number, facts[1], tonumber(facts[2] or '') or false, tonumber(facts[3] or '') or false,
      tonumber(facts[4] or '') or false, call('ZCARD', P .. 'leases:' .. holder) }
  end
end
return pack(found)
