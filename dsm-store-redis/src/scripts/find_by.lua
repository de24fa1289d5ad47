-- The key and content of the record that has a unique term.
-- ARGV: kind and term.
local id = call('HGET', UNIQUE, ARGV[1])
if not id then return false end
local key = sub(ARGV[1], 1, 2) .. id
return {key, call('HGET', RECORDS, key)}
