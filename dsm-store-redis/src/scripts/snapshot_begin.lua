-- Begins a snapshot: from now on commits keep what they replace.
-- ARGV: its name, milliseconds it lasts unless it is read, how many there may be.
for _, id in ipairs(call('SMEMBERS', SNAPSHOTS)) do
  if call('EXISTS', SNAPSHOT .. id) == 0 then call('SREM', SNAPSHOTS, id) end
end
if call('SCARD', SNAPSHOTS) >= tonumber(ARGV[3]) then return {'many'} end
call('SADD', SNAPSHOTS, ARGV[1])
call('SET', SNAPSHOT .. ARGV[1], '', 'PX', ARGV[2])
local log = tonumber(call('GET', LOG_COUNT) or 0)
return {'ok', call('ZCARD', IDS), log, call('ZCARD', JOB_KEYS), call('HGETALL', NUMBERS)}
