-- with: reading
-- Tell whether a worker is registered.
return pack(call('EXISTS', P .. 'worker:' .. cmsgpack.unpack(ARGV[1])) == 1)
