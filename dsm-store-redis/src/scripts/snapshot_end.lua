-- Ends a snapshot and removes what was kept for it.
-- ARGV: its name.
local name = SNAPSHOT .. ARGV[1]
call('SREM', SNAPSHOTS, ARGV[1])
call('UNLINK', name, name .. ':records', name .. ':records-order', name .. ':jobs', name .. ':jobs-order')
return true
