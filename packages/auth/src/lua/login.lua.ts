import { LUA_LATE, type Script, defineScript } from '@fastify-scale/kit'
import { LUA_ISSUED_AT } from './issued-at.lua.ts'

/**
 * Begins a session.
 *
 * KEYS: session, subject's cut-off, subject's sessions
 * ARGV: deadline, claims, family hash, token hash, idle ms, absolute ms, cut-off for all, session id,
 *   highest iat
 * Returns one of
 *   {'late'}           too late: nothing was done
 *   {'wait', ms}       a token of this second would be revoked: ask again then
 *   {'ok', iat, ms until the session ends unless it is used}
 */
export const loginScript: Script = defineScript(`${LUA_LATE}
if late(ARGV[1]) then return {'late'} end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local cut = math.max(tonumber(redis.call('GET', KEYS[2]) or 0), tonumber(ARGV[7]))
local limit = tonumber(ARGV[9])
${LUA_ISSUED_AT}
local ttl = math.min(tonumber(ARGV[5]), tonumber(ARGV[6]))
redis.call('HSET', KEYS[1], 'v', 1, 'claims', ARGV[2], 'family', ARGV[3], 'token', ARGV[4],
  'born', iat, 'end', string.format('%.0f', now + ARGV[6]), 'rotated', 0)
redis.call('PEXPIRE', KEYS[1], ttl)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
redis.call('ZADD', KEYS[3], string.format('%.0f', now + ARGV[6]), ARGV[8])
redis.call('PEXPIRE', KEYS[3], ARGV[6])
return {'ok', iat, ttl}
`)
