-- with: base
-- Let schedules tick no more whose records make no sense; nobody could move them on.
spread('ZREM', P .. 'ticks', cmsgpack.unpack(ARGV[6]))
return pack(true)
