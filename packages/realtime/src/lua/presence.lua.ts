import { type Script, defineScript } from '@fastify-scale/kit'

const LUA_NOW = `local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
`

/**
 * Keeps members of a room alive and removes others. The time is Redis' own, so that processes need not agree on one.
 *
 * KEYS: the room's sorted set (member, by the moment it ends). ARGV: ttl (ms), number of members to keep, those, then
 * those to remove.
 */
export const touchPresenceScript: Script = defineScript(`${LUA_NOW}
local ttl, keep = tonumber(ARGV[1]), tonumber(ARGV[2])
for i = 3, 2 + keep do redis.call('ZADD', KEYS[1], now + ttl, ARGV[i]) end
for i = 3 + keep, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('PEXPIRE', KEYS[1], ttl * 2)
return 1
`)

/** The members whose time is not over. KEYS: the sorted set. */
export const readPresenceScript: Script = defineScript(`${LUA_NOW}
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%d', now), '+inf')
`)
