-- The next part of a snapshot.
-- ARGV: its name, milliseconds it lasts, 'records', 'log' or 'jobs', key to go on after or '', last
--   position of the log.
-- Returns 'ok' or 'gone', where to go on or '' at the end, then key and content of each item.
local COUNT, BYTES = 256, 4 * 1024 * 1024
local name, part, after = SNAPSHOT .. ARGV[1], ARGV[3], ARGV[4]
if call('PEXPIRE', name, ARGV[2]) == 0 then return {'gone'} end
for _, suffix in ipairs({':records', ':records-order', ':jobs', ':jobs-order'}) do
  call('PEXPIRE', name .. suffix, KEPT)
end

local found, bytes = {'ok', ''}, 0
local function take(key, content)
  found[#found + 1] = key
  found[#found + 1] = content
  bytes = bytes + #content
  return bytes >= BYTES
end

if part == 'log' then
  local first = after == '' and 1 or unpack8(after) + 1
  local last = unpack8(ARGV[5])
  for number = first, math.min(last, first + COUNT - 1) do
    local position = pack(number)
    local full = take(position, call('HGET', LOG, position))
    if number < last then found[2] = position else found[2] = '' end
    if full then return found end
  end
  return found
end

-- What there is now and what was kept, in one order.
local content, order = RECORDS, IDS
if part == 'jobs' then content, order = JOBS, JOB_KEYS end
local kept = name .. ':' .. part
local low = after == '' and '-' or '(' .. after
local a = call('ZRANGE', order, low, '+', 'BYLEX', 'LIMIT', 0, COUNT)
local b = call('ZRANGE', kept .. '-order', low, '+', 'BYLEX', 'LIMIT', 0, COUNT)
local i, j, examined = 1, 1, 0
while (a[i] or b[j]) and examined < COUNT do
  local key
  if a[i] and (not b[j] or not less(b[j], a[i])) then
    key = a[i]
    if b[j] == key then j = j + 1 end
    i = i + 1
  else
    key = b[j]
    j = j + 1
  end
  examined = examined + 1
  local old = call('HGET', kept, key)
  local full = false
  if old ~= '' then full = take(key, old or call('HGET', content, key)) end
  found[2] = key
  if full then return found end
end
if examined < COUNT then found[2] = '' end
return found
