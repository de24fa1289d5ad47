-- The first jobs of each topic by due time.
-- ARGV: limit, topics.
-- Returns key and job of each.
local found = {}
for i = 2, #ARGV do
  local topic = ARGV[i]
  local low, high = '[' .. topic, '[' .. topic .. LAST .. LAST
  for _, member in ipairs(call('ZRANGE', DUE, low, high, 'BYLEX', 'LIMIT', 0, ARGV[1])) do
    local key = topic .. sub(member, 11)
    found[#found + 1] = key
    found[#found + 1] = call('HGET', JOBS, key)
  end
end
return found
