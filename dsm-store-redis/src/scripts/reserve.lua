-- Reserves numbers of a kind.
-- ARGV: kind, how many.
-- Returns the last one, in digits: it may be beyond 2^53.
call('HINCRBY', NUMBERS, ARGV[1], ARGV[2])
return call('HGET', NUMBERS, ARGV[1])
