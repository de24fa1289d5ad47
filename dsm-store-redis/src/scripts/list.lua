-- A page of records, by id.
-- ARGV: kind, id to go on after or '', 'newest' or 'oldest', limit, created from and until, expires
--   from and until ('' where there is no bound at all), terms.
-- Returns how it ended, where to go on, then key and content of each record:
--   'end': nothing follows; 'full': the limit is reached and more follow;
--   'part': enough work for one call, go on after the id.
local EXAMINED, BYTES, SORTED = 20000, 32 * 1024 * 1024, 2000

local kind, after, newest, limit = ARGV[1], ARGV[2], ARGV[3] == 'newest', tonumber(ARGV[4])
local created_from, created_until, expires_from, expires_until = ARGV[5], ARGV[6], ARGV[7], ARGV[8]

-- The ids after the cursor under a prefix.
local function rest(prefix)
  if after == '' then return '[' .. prefix, '[' .. prefix .. LAST end
  if newest then return '[' .. prefix, '(' .. prefix .. after end
  return '(' .. prefix .. after, '[' .. prefix .. LAST
end

-- The index with the fewest candidates leads.
local key, prefix, count
local function consider(index, under)
  local low, high = rest(under)
  local found = call('ZLEXCOUNT', index, low, high)
  if not count or found < count then key, prefix, count = index, under, found end
end
local terms = {}
for i = 9, #ARGV do
  terms[#terms + 1] = kind .. ARGV[i]
  consider(TERMS, kind .. ARGV[i])
end
if #terms == 0 then consider(IDS, kind) end

local range
local function consider_range(index, from, till)
  if from == '' then return end
  local low, high = '[' .. kind .. from, '[' .. kind .. till .. LAST
  local found = call('ZLEXCOUNT', index, low, high)
  if found < count and found <= SORTED then range, count = {index, low, high}, found end
end
consider_range(CREATED, created_from, created_until)
consider_range(EXPIRES, expires_from, expires_until)

local function within(instant, from, till)
  return from == '' or not (less(instant, from) or less(till, instant))
end

local bytes = 0
local function matching(id)
  for _, term in ipairs(terms) do
    if not call('ZSCORE', TERMS, term .. id) then return end
  end
  local record = call('HGET', RECORDS, kind .. id)
  bytes = bytes + #record
  if not within(sub(record, 9, 16), created_from, created_until) then return end
  if expires_from ~= '' then
    if byte(record, 17) == 0 then return end
    if not within(sub(record, 18, 25), expires_from, expires_until) then return end
  end
  return record
end

-- The next candidates in order; none at the end.
local ids
if range then
  local all = {}
  for _, member in ipairs(call('ZRANGE', range[1], range[2], range[3], 'BYLEX')) do
    local id = sub(member, 11)
    if after == '' or (newest and less(id, after)) or (not newest and less(after, id)) then
      all[#all + 1] = id
    end
  end
  table.sort(all, function(a, b)
    if newest then return less(b, a) end
    return less(a, b)
  end)
  ids = function()
    local found = all
    all = {}
    return found
  end
else
  ids = function()
    local low, high = rest(prefix)
    local chunk = math.min(limit + 1, 500)
    local members
    if newest then
      members = call('ZRANGE', key, high, low, 'BYLEX', 'REV', 'LIMIT', 0, chunk)
    else
      members = call('ZRANGE', key, low, high, 'BYLEX', 'LIMIT', 0, chunk)
    end
    for i, member in ipairs(members) do members[i] = sub(member, -8) end
    return members
  end
end

local found, taken, examined = {'end', ''}, 0, 0
while true do
  local candidates = ids()
  if #candidates == 0 then return found end
  for _, id in ipairs(candidates) do
    if examined >= EXAMINED or bytes >= BYTES then
      found[1], found[2] = 'part', after
      return found
    end
    local record = matching(id)
    if record then
      if taken >= limit then
        found[1], found[2] = 'full', after
        return found
      end
      taken = taken + 1
      found[#found + 1] = kind .. id
      found[#found + 1] = record
    end
    examined = examined + 1
    after = id
  end
end
