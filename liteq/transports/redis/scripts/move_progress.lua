-- with: reading
-- Return how far a move to this store has come, or false.
return pack(call('HGET', P .. 'moves', cmsgpack.unpack(ARGV[1])))
