-- with: reading
-- Return the earliest moment of a schedule, or false.
return pack(tonumber(call('ZRANGE', P .. 'ticks', 0, 0, 'WITHSCORES')[2]) or false)
