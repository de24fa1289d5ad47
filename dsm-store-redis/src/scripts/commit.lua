-- A change set. Everything is checked before anything is written, so that no error can leave half.
-- ARGV: operation or '', milliseconds to remember it, numbers of settlements, records and jobs, then
--   of each settlement: job key, generation, new due time, '' when it is done or 'held' when it goes on
--   of each record: what, key, expected revision or '', new record or ''
--   of each job: key, new job or ''
local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end

local operation, remembered = take(), take()
local settlements, changes, puts = tonumber(take()), tonumber(take()), tonumber(take())

if operation ~= '' then
  operation = OPERATION .. operation
  local known = call('GET', operation)
  if known then
    -- Written again for WAIT, as in resolve.lua.
    call('SET', operation, known, 'PX', remembered)
    return known == 'done' and {'ok', 0} or {'given up'}
  end
end

local settled = {}
for i = 1, settlements do
  local key, generation, due = take(), take(), take()
  local job = call('HGET', JOBS, key)
  if not job or generation == sub(NO_LEASE, 1, 8) or sub(job, 9, 16) ~= generation then
    return {'lease', key}
  end
  if due ~= 'held' then settled[#settled + 1] = {key = key, due = due, old = job} end
end

local records, altered, told = {}, {}, {}
for i = 1, changes do
  local what, key, expected, new = take(), take(), take(), take()
  local old = call('HGET', RECORDS, key)
  if what == 'create' then
    if old then return {'exists', key} end
  elseif not old or sub(old, 1, 8) ~= expected then
    return {'revision', key}
  end
  if what ~= 'check' then
    -- The index is left by what the old record says, which must be said before anything is written.
    if old and (#old < 29 or terms_end(old) > #old) then return {'damaged', key} end
    altered[key] = true
    told[#told + 1] = key
    records[#records + 1] = {key = key, old = old, new = new ~= '' and new}
  end
end

-- Unique terms are unique once the whole set is applied.
local claimed = {}
for _, record in ipairs(records) do
  local new = record.new
  if new then
    local kind, id = sub(record.key, 1, 2), sub(record.key, 3)
    for i = 30, terms_end(new), 17 do
      if byte(new, i) == 1 then
        local term = kind .. sub(new, i + 1, i + 16)
        local holder = call('HGET', UNIQUE, term)
        if (holder and not altered[kind .. holder]) or (claimed[term] or id) ~= id then
          return {'exists', record.key}
        end
        claimed[term] = id
      end
    end
  end
end

local jobs = {}
for i = 1, puts do
  local key, new = take(), take()
  jobs[i] = {key = key, old = call('HGET', JOBS, key), new = new ~= '' and new}
end

-- From here on nothing is refused.

local snapshots = {}
for _, id in ipairs(call('SMEMBERS', SNAPSHOTS)) do
  if call('EXISTS', SNAPSHOT .. id) == 1 then
    snapshots[#snapshots + 1] = SNAPSHOT .. id
  else
    call('SREM', SNAPSHOTS, id)
  end
end

-- Keeps what was there for the snapshots that began before, once. Empty: nothing was there.
local function keep(part, key, old)
  for _, name in ipairs(snapshots) do
    local hash, order = name .. ':' .. part, name .. ':' .. part .. '-order'
    if call('HSETNX', hash, key, old or '') == 1 then
      call('PEXPIRE', hash, KEPT)
      if old then
        call('ZADD', order, 0, key)
        call('PEXPIRE', order, KEPT)
      end
    end
  end
end

local function unindex(key, record)
  local kind, id = sub(key, 1, 2), sub(key, 3)
  call('ZREM', CREATED, kind .. sub(record, 9, 16) .. id)
  if byte(record, 17) == 1 then call('ZREM', EXPIRES, kind .. sub(record, 18, 25) .. id) end
  for i = 30, terms_end(record), 17 do
    local term = kind .. sub(record, i + 1, i + 16)
    call('ZREM', TERMS, term .. id)
    if byte(record, i) == 1 then call('HDEL', UNIQUE, term) end
  end
end

local function index(key, record)
  local kind, id = sub(key, 1, 2), sub(key, 3)
  call('ZADD', CREATED, 0, kind .. sub(record, 9, 16) .. id)
  if byte(record, 17) == 1 then call('ZADD', EXPIRES, 0, kind .. sub(record, 18, 25) .. id) end
  for i = 30, terms_end(record), 17 do
    local term = kind .. sub(record, i + 1, i + 16)
    call('ZADD', TERMS, 0, term .. id)
    if byte(record, i) == 1 then call('HSET', UNIQUE, term, id) end
  end
end

-- First all removals: a term may pass from one record of the set to another.
for _, record in ipairs(records) do
  local key, old, new = record.key, record.old, record.new
  keep('records', key, old)
  record.same = old and new
    and sub(old, 9, terms_end(old)) == sub(new, 9, terms_end(new))
  if old and not record.same then unindex(key, old) end
  if old and not new then
    call('HDEL', RECORDS, key)
    call('ZREM', IDS, key)
  end
end
for _, record in ipairs(records) do
  local key, new = record.key, record.new
  if new then
    call('HSET', RECORDS, key, new)
    if not record.old then call('ZADD', IDS, 0, key) end
    if not record.same then index(key, new) end
  end
end

local function put(key, old, new)
  keep('jobs', key, old)
  local topic, subject = sub(key, 1, 2), sub(key, 3)
  if old then call('ZREM', DUE, topic .. sub(old, 1, 8) .. subject) end
  if new then
    call('ZADD', DUE, 0, topic .. sub(new, 1, 8) .. subject)
    call('HSET', JOBS, key, new)
    if not old then call('ZADD', JOB_KEYS, 0, key) end
  elseif old then
    call('HDEL', JOBS, key)
    call('ZREM', JOB_KEYS, key)
  end
end

for _, job in ipairs(settled) do
  put(job.key, job.old, job.due ~= '' and job.due .. NO_LEASE .. sub(job.old, 25))
end
for _, job in ipairs(jobs) do
  if job.old or job.new then put(job.key, job.old, job.new) end
end

if operation ~= '' then call('SET', operation, 'done', 'PX', remembered) end
if #told == 0 then return {'ok', 0} end
local count = call('INCR', CHANGE_COUNT)
call('XADD', CHANGES, 'MAXLEN', '~', 100000, '*', 'n', pack(count), 'keys', table.concat(told))
return {'ok', count}
