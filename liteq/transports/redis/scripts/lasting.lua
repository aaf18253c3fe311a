-- Tell whether these can be the times of a registered worker. One for whom they are not is as good as not
-- registered: it registers anew, and others recover its jobs.
local function lasts(expires, timeout)
  local latest = 253402300800 -- the first moment that no date can say
  expires, timeout = tonumber(expires or ''), tonumber(timeout or '')
  return expires ~= nil and timeout ~= nil
    and expires >= 0 and expires < latest and timeout >= 0 and timeout < latest
end
