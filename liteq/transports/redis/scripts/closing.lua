-- Return the error that says where a closed store was moved to, or nil if it is open; `mark` is what stands
-- under `closed`.
local function refusal_of(mark)
  if not mark then
    return nil
  end
  local ok, said = pcall(cmsgpack.unpack, mark)
  local target, ended = 'nobody knows where', false
  if ok and type(said) == 'table' and type(said[2]) == 'string' then
    target, ended = said[2], said[4]
  end
  return redis.error_reply('CLOSED ' .. (ended and 'was moved' or 'is being moved') .. ' to ' .. target)
end
