-- with: reading
-- Return where tasks live.
return pack(call('HVALS', P .. 'origins'))
