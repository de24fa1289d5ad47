-- A page of the log, by position.
-- ARGV: server or '', position to go on after or '', 'newest' or 'oldest', limit, first instant or
--   '', last instant or '', terms.
-- Returns how it ended and where to go on, as list.lua does, then position and batch.
local EXAMINED, BYTES = 20000, 32 * 1024 * 1024

local server, after, newest, limit = ARGV[1], ARGV[2], ARGV[3] == 'newest', tonumber(ARGV[4])
local from, till = ARGV[5], ARGV[6]
local found, taken, examined, bytes = {'end', ''}, 0, 0, 0

-- What can overlap the span is between the first batch that ends late enough and the last one that
-- begins early enough.
local first, last = 1, tonumber(call('GET', LOG_COUNT) or 0)
if from ~= '' then
  local member = call('ZRANGE', LOG_UNTIL, '[' .. from, '+', 'BYLEX', 'LIMIT', 0, 1)[1]
  if not member then return found end
  first = unpack8(sub(member, 9))
end
if till ~= '' then
  local member = call('ZRANGE', LOG_FROM, '[' .. till .. LAST, '-', 'BYLEX', 'REV', 'LIMIT', 0, 1)[1]
  if not member then return found end
  last = math.min(last, unpack8(sub(member, 9)))
end
if after ~= '' then
  if newest then
    last = math.min(last, unpack8(after) - 1)
  else
    first = math.max(first, unpack8(after) + 1)
  end
end
if last < first then return found end

-- The index with the fewest candidates leads.
local conditions, lead = {}, nil
local function condition(index, prefix)
  local count = call('ZLEXCOUNT', index, '[' .. prefix .. pack(first), '[' .. prefix .. pack(last))
  conditions[#conditions + 1] = {index, prefix}
  if not lead or count < lead[3] then lead = {index, prefix, count} end
end
if server ~= '' then condition(LOG_SERVERS, server) end
for i = 7, #ARGV do condition(LOG_TERMS, ARGV[i]) end

-- The next candidates in order; none at the end.
local function positions()
  local chunk = math.min(limit + 1, 500)
  local next = {}
  if last < first then return next end
  if not lead then
    for i = 1, math.min(chunk, last - first + 1) do
      next[i] = newest and last + 1 - i or first - 1 + i
    end
    return next
  end
  local low, high = '[' .. lead[2] .. pack(first), '[' .. lead[2] .. pack(last)
  local members
  if newest then
    members = call('ZRANGE', lead[1], high, low, 'BYLEX', 'REV', 'LIMIT', 0, chunk)
  else
    members = call('ZRANGE', lead[1], low, high, 'BYLEX', 'LIMIT', 0, chunk)
  end
  for i, member in ipairs(members) do next[i] = unpack8(sub(member, -8)) end
  return next
end

local function matching(position)
  for _, one in ipairs(conditions) do
    if not call('ZSCORE', one[1], one[2] .. position) then return end
  end
  local batch = call('HGET', LOG, position)
  bytes = bytes + #batch
  if from ~= '' and less(sub(batch, 41, 48), from) then return end
  if till ~= '' and less(till, sub(batch, 33, 40)) then return end
  return batch
end

while true do
  local candidates = positions()
  if #candidates == 0 then return found end
  for _, number in ipairs(candidates) do
    if examined >= EXAMINED or bytes >= BYTES then
      found[1], found[2] = 'part', after
      return found
    end
    local position = pack(number)
    local batch = matching(position)
    if batch then
      if taken >= limit then
        found[1], found[2] = 'full', after
        return found
      end
      taken = taken + 1
      found[#found + 1] = position
      found[#found + 1] = batch
    end
    examined = examined + 1
    after = position
    if newest then last = number - 1 else first = number + 1 end
  end
end
