-- Appends batches to the log, but for those that are there.
-- ARGV: batches.
local appended = false
for _, batch in ipairs(ARGV) do
  if call('HSETNX', LOG_KNOWN, sub(batch, 1, 24), '') == 1 then
    appended = true
    local position = pack(call('INCR', LOG_COUNT))
    call('HSET', LOG, position, batch)
    call('ZADD', LOG_SERVERS, 0, sub(batch, 1, 16) .. position)
    for i = 53, 52 + 16 * struct.unpack('>I4', batch, 49), 16 do
      call('ZADD', LOG_TERMS, 0, sub(batch, i, i + 15) .. position)
    end
    local from, till = sub(batch, 33, 40), sub(batch, 41, 48)
    -- Batches that end later than all before them: the first to end at or after an instant is here.
    local latest = call('ZRANGE', LOG_UNTIL, '+', '-', 'BYLEX', 'REV', 'LIMIT', 0, 1)[1]
    if not latest or less(sub(latest, 1, 8), till) then
      call('ZADD', LOG_UNTIL, 0, till .. position)
    end
    -- Batches that begin earlier than all after them: the last to begin at or before one is here.
    call('ZREMRANGEBYLEX', LOG_FROM, '[' .. from, '+')
    call('ZADD', LOG_FROM, 0, from .. position)
  end
end
-- Written again for WAIT, as in resolve.lua.
if not appended then call('SET', LOG_COUNT, call('GET', LOG_COUNT)) end
return true
