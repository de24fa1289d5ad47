if call('EXISTS', SCHEMA) == 0 then
  return redis.error_reply('VANISHED what the store was opened with is gone')
end
