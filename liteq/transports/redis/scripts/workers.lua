-- with: reading
-- Return the workers, each {number, about, started, expires, timeout, leases}; those who only hold leases any
-- more have nothing in between.
local found = {}
for at, holder in ipairs(call('SMEMBERS', P .. 'holders')) do
  local facts = call('HMGET', P .. 'worker:' .. holder, 'about', 'started', 'expires', 'timeout')
  local leases = call('ZCARD', P .. 'leases:' .. holder)
  found[at] = { tonumber(holder) or false, facts[1], tonumber(facts[2] or '') or false,
    tonumber(facts[3] or '') or false, tonumber(facts[4] or '') or false, leases }
end
return pack(found)
