-- Whether an operation took effect; if not, it never will.
-- ARGV: operation, milliseconds to remember it.
local operation = OPERATION .. ARGV[1]
local known = call('GET', operation) or 'given up'
-- Also when it is known: what is told must have reached the replicas, and it is for writes alone that
-- WAIT knows what they must have.
call('SET', operation, known, 'PX', ARGV[2])
return known
