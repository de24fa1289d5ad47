-- Leases due jobs, the longest due first.
-- ARGV: now, end of the leases, limit, topics.
-- Returns key and job of each.
local now, till, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])

local free = {}
local function collect(topic)
  local low, high, found = '[' .. topic, '[' .. topic .. now .. LAST, 0
  while found < limit do
    local members = call('ZRANGE', DUE, low, high, 'BYLEX', 'LIMIT', 0, 100)
    if #members == 0 then return end
    for _, member in ipairs(members) do
      local key = topic .. sub(member, 11)
      local job = call('HGET', JOBS, key)
      if sub(job, 9, 24) == NO_LEASE or not less(now, sub(job, 17, 24)) then
        free[#free + 1] = {order = sub(job, 1, 8) .. key, key = key, job = job}
        found = found + 1
        if found == limit then return end
      end
    end
    low = '(' .. members[#members]
  end
end
for i = 4, #ARGV do collect(ARGV[i]) end
table.sort(free, function(a, b) return less(a.order, b.order) end)

local leased = {}
for i = 1, math.min(limit, #free) do
  local key, job = free[i].key, free[i].job
  job = sub(job, 1, 8) .. pack(call('INCR', GENERATION)) .. till .. sub(job, 25)
  call('HSET', JOBS, key, job)
  leased[#leased + 1] = key
  leased[#leased + 1] = job
end
return leased
