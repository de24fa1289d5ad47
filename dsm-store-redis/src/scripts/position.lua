-- Where the stream of changes is.
-- ARGV: the last entry met or ''.
-- Returns the number of changes, the last entry, and whether the given one is there.
local last = call('XREVRANGE', CHANGES, '+', '-', 'COUNT', 1)[1]
local met = ARGV[1] ~= '' and #call('XRANGE', CHANGES, ARGV[1], ARGV[1]) == 1
local count = tonumber(call('GET', CHANGE_COUNT) or 0)
return {count, last and last[1] or '0-0', met and 1 or 0}
