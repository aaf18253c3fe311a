-- Which lanes there are to take from. `lanes` holds the names of those that are not empty, all with score 0, so
-- that those of one task lie together.
local FEW = 16 -- lanes that are looked at one by one without further thought
local PROBES = 4000 -- names in one command

-- Return those of the lanes that the tables of tasks and queues name, or false for every queue. The way that has
-- the fewest to look at is taken, so that a worker does not pay for what only others serve.
local function open_lanes(tasks, queues)
  local all, known, found, wanted = call('ZCARD', P .. 'lanes'), 0, {}, nil
  if queues then
    wanted = {}
    for _, queue in ipairs(queues) do
      wanted[queue] = true
    end
  end

  local function look(lanes)
    for _, lane in ipairs(lanes) do
      local queue, task = parts(lane)
      if tasks[task] and (not wanted or wanted[queue]) then
        found[#found + 1] = lane
      end
    end
  end

  if all > FEW then
    for _ in pairs(tasks) do
      known = known + 1
    end
    if queues and known * #queues < all then
      local names = {}
      for task in pairs(tasks) do
        for queue in pairs(wanted) do
          names[#names + 1] = #task .. ':' .. task .. queue
        end
      end
      for first = 1, #names, PROBES do
        local last = math.min(first + PROBES - 1, #names)
        for at, score in ipairs(call('ZMSCORE', P .. 'lanes', unpack(names, first, last))) do
          if score then
            found[#found + 1] = names[first + at - 1]
          end
        end
      end
      return found
    end
    if known < all then
      for task in pairs(tasks) do
        local start = #task .. ':' .. task
        -- No text in UTF-8 has the byte 255.
        look(call('ZRANGEBYLEX', P .. 'lanes', '[' .. start, '(' .. start .. '\255'))
      end
      return found
    end
  end
  look(call('ZRANGE', P .. 'lanes', 0, -1))
  return found
end
