-- The version of what is stored, which is set when nothing is.
-- ARGV: the version that this program writes.
local version = call('GET', SCHEMA)
if version then return version end
for i = 1, #KEYS do
  if call('EXISTS', KEYS[i]) == 1 then return 'foreign' end
end
call('SET', SCHEMA, ARGV[1])
return ARGV[1]
