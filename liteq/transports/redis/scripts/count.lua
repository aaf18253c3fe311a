-- with: reading
-- Return how many jobs there are of each kind.
return pack(call('HGETALL', P .. 'counts'))
