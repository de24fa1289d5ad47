-- Prolongs a lease, if it is the job's latest.
-- ARGV: job key, generation, new end.
local job = call('HGET', JOBS, ARGV[1])
if not job or ARGV[2] == sub(NO_LEASE, 1, 8) or sub(job, 9, 16) ~= ARGV[2] then return false end
call('HSET', JOBS, ARGV[1], sub(job, 1, 16) .. ARGV[3] .. sub(job, 25))
return true
