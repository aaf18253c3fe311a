-- with: reading
-- Return the first moments at which a waiting job expires and a finished one is dropped.
return pack({
  tonumber(call('ZRANGE', P .. 'expiring', 0, 0, 'WITHSCORES')[2]) or false,
  tonumber(call('ZRANGE', P .. 'discarding', 0, 0, 'WITHSCORES')[2]) or false,
})
