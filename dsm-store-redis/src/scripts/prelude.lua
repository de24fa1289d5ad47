local call, sub, byte = redis.call, string.sub, string.byte
local LAST = string.rep('\255', 8)
local NO_LEASE = string.rep('\0', 16)

-- Whether a comes before b, of the same length, byte by byte. Lua's own comparison asks the locale.
local function less(a, b)
  for i = 1, #a do
    local x, y = byte(a, i), byte(b, i)
    if x ~= y then return x < y end
  end
  return false
end

-- Positions and generations count from 1 and stay far below 2^53, where doubles are exact. Ids,
-- revisions and instants are never numbers here.
local function pack(number)
  return struct.pack('>I8', number)
end

local function unpack8(bytes)
  return (struct.unpack('>I8', bytes))
end

-- Where the terms of a record end: see encoding.rs.
local function terms_end(record)
  return 29 + 17 * struct.unpack('>I4', record, 26)
end
