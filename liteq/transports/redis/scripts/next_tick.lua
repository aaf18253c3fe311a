-- with: closing, reading
-- Return the earliest moment of a schedule, or false.
local refusal = refusal_of(call('GET', P .. 'closed'))
if refusal then
  return refusal
end
return pack(tonumber(call('ZRANGE', P .. 'ticks', 0, 0, 'WITHSCORES')[2]) or false)
