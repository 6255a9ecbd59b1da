import { LUA_LATE } from '@fastify-scale/kit'

/**
 * Changes one setting.
 *
 * KEYS: hash of values, stream of changes.
 * ARGV: deadline, setting, value as JSON ('' for the default), version required ('' for any), who, length of the stream,
 * id of this call, where an earlier attempt may have got through the time in ms before which it did not (else '').
 *
 * A field of the hash is `<version>:<json>`. Returns `{'OK', version, at, previous}`, `{'CONFLICT', version}`, `{'LATE'}`,
 * or `{'LOST'}` where the entry of an earlier attempt may have been trimmed already. A version is the time in ms or one more than the last: it also grows where the data were lost in between.
 */
export const SET: string = `${LUA_LATE}
if ARGV[8] ~= '' then
  for _, entry in ipairs(redis.call('XREVRANGE', KEYS[2], '+', ARGV[8])) do
    local fields = {}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    if fields.id == ARGV[7] then return { 'OK', fields.n, fields.at, fields.o } end
  end
  local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  local full = redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[6])
  if full and tonumber(string.match(oldest[1], '^%d+')) >= tonumber(ARGV[8]) then return { 'LOST' } end
end
if late(ARGV[1]) then return { 'LATE' } end
local version, previous = 0, ''
local current = redis.call('HGET', KEYS[1], ARGV[2])
if current then
  local colon = string.find(current, ':', 1, true)
  version = tonumber(string.sub(current, 1, colon - 1))
  previous = string.sub(current, colon + 1)
end
if ARGV[4] ~= '' and tonumber(ARGV[4]) ~= version then
  return { 'CONFLICT', string.format('%.0f', version) }
end
local time = redis.call('TIME')
local at = time[1] * 1000 + math.floor(time[2] / 1000)
local n = string.format('%.0f', math.max(version + 1, at))
at = string.format('%.0f', at)
redis.call('HSET', KEYS[1], ARGV[2], n .. ':' .. ARGV[3])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6], '*',
  'k', ARGV[2], 'v', ARGV[3], 'o', previous, 'n', n, 'at', at, 'by', ARGV[5], 'id', ARGV[7])
return { 'OK', n, at, previous }
`
