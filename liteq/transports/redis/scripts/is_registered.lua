-- with: reading, lasting
-- Tell whether a worker is registered.
return pack(lasts(unpack(call('HMGET', P .. 'worker:' .. cmsgpack.unpack(ARGV[1]), 'expires', 'timeout'))))
