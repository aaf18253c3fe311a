-- with: base, moves
-- Store a running job's own state, if the lease still holds.
local kept = repeated()
if kept then
  return kept
end
local seq, token, state, result = unpack(cmsgpack.unpack(ARGV[6]))
local r = load({ seq })[1]
if not r or r[STATION] ~= LEASED or r[TOKEN] ~= token then
  return remember(pack(false))
end
tally(r, -1)
r[STATE], r[RESULT] = state, result
tally(r, 1)
changed[seq] = r
flush()
return remember(pack(true))
