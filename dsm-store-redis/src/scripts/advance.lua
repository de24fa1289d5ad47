-- Makes numbers of a kind greater than one that came from elsewhere.
-- ARGV: kind, number. Both numbers are digits without leading zeros and may be beyond 2^53.
local last = call('HGET', NUMBERS, ARGV[1]) or '0'
local past = ARGV[2]
if #last < #past or (#last == #past and less(last, past)) then last = past end
-- Written again for WAIT, as in resolve.lua.
call('HSET', NUMBERS, ARGV[1], last)
return true
