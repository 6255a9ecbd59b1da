import { LUA_LATE } from '@fastify-scale/kit'

const NOW = `local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
`

/**
 * Takes a lease, or takes it over from the same owner. KEYS lease; ARGV owner, ttl, deadline.
 * Returns {fencing, 0}, or {0, ms that the owner has left}, or {-1, 0} when it ran late and did nothing.
 *
 * The fencing number is the time where that is higher than the last one plus one, so that it goes up also when the key
 * was lost.
 */
export const ACQUIRE: string = `${LUA_LATE}
if late(ARGV[3]) then return {-1, 0} end
${NOW}
local lease = redis.call('HMGET', KEYS[1], 'owner', 'until', 'fencing')
local left = (tonumber(lease[2]) or 0) - now
if lease[1] and lease[1] ~= ARGV[1] and left > 0 then return {0, left} end
local fencing = math.max((tonumber(lease[3]) or 0) + 1, now)
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'until', string.format('%.0f', now + ARGV[2]),
  'fencing', string.format('%.0f', fencing))
redis.call('PEXPIRE', KEYS[1], 604800000)
return {fencing, 0}`

/** Extends a lease that is still the same. KEYS lease; ARGV owner, fencing, ttl, deadline. Returns 1, or 0 when it is lost. */
export const RENEW: string = `${LUA_LATE}
if late(ARGV[4]) then return 0 end
local lease = redis.call('HMGET', KEYS[1], 'owner', 'fencing')
if lease[1] ~= ARGV[1] or lease[2] ~= ARGV[2] then return 0 end
${NOW}
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', now + ARGV[3]))
redis.call('PEXPIRE', KEYS[1], 604800000)
return 1`

/** Gives a lease back where it is still ours; the fencing number stays. KEYS lease; ARGV owner, fencing. */
export const RELEASE: string = `
local lease = redis.call('HMGET', KEYS[1], 'owner', 'fencing')
if lease[1] ~= ARGV[1] or lease[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'until', '0')
return 1`
