-- Whether an operation took effect; if not, it never will.
-- ARGV: operation, milliseconds to remember it.
local operation = OPERATION .. ARGV[1]
local known = call('GET', operation)
if not known then
  known = 'given up'
  call('SET', operation, known, 'PX', ARGV[2])
end
return known
