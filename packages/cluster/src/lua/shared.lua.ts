import { LUA_LATE } from '@fastify-scale/kit'

/**
 * Saves a shared value unless one of a later tenure is there. KEYS values, stream; ARGV name, envelope, fencing, deadline.
 * Returns 1 when saved, 0 when refused, -1 when it ran late and did nothing.
 */
export const PUT_SHARED: string = `${LUA_LATE}
if late(ARGV[4]) then return -1 end
local fencing = tonumber(redis.call('HGET', KEYS[1], 'f:' .. ARGV[1])) or 0
if fencing > tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], 'f:' .. ARGV[1], ARGV[3], 'v:' .. ARGV[1], ARGV[2])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 256, '*', 'name', ARGV[1])
redis.call('PEXPIRE', KEYS[1], 604800000)
redis.call('PEXPIRE', KEYS[2], 604800000)
return 1`
