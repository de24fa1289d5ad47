-- The key and content of the record that has each unique term, or nothing twice.
-- ARGV: kind and term of each.
local found = {}
for i, kind_term in ipairs(ARGV) do
  local id = call('HGET', UNIQUE, kind_term)
  local key = id and sub(kind_term, 1, 2) .. id
  found[2 * i - 1] = key
  found[2 * i] = key and call('HGET', RECORDS, key)
end
return found
