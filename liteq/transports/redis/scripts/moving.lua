-- with: reading
-- Return the mark of the move for which this store is closed, or false.
return call('GET', P .. 'closed') or pack(false)
