import { LUA_LATE, type Script, defineScript } from '@fastify-scale/kit'
import { LUA_ISSUED_AT } from './issued-at.lua.ts'

/**
 * Uses a refresh token: rotates it, or hands out again what the last rotation made. Or only looks whether it could be used.
 *
 * KEYS: session, subject's cut-off
 * ARGV: deadline, family hash, token hash, new nonce, successor's hash, grace ms, idle ms, cut-off for all, ms to remember
 *   a killed session, highest iat, when the token was looked at (ms; empty: now), 'look' or the session's new claims
 *   (empty: those it has)
 * Returns one of
 *   {'late'}     too late: nothing was done
 *   {'wait', ms} a token of this second would be revoked: ask again then
 *   {'gone'}     there is no such session (any more), or the token is none of its
 *   {'reused'}   the token's successor was handed out before the grace window: the session is dead now
 *   {'good', claims, now in ms}  it was only looked at, and nothing was changed
 *   {'rotated' | 'repeated' | 'kept', claims, iat, ms until the session ends, nonce}
 *     rotated: the successor is the one given; repeated: the successor comes from this nonce; kept: the token stays
 */
export const refreshScript: Script = defineScript(`${LUA_LATE}
if late(ARGV[1]) then return {'late'} end
local s = redis.call('HMGET', KEYS[1], 'family', 'token', 'previous', 'nonce', 'rotated', 'born', 'end', 'claims', 'dead')
if not s[1] or s[1] ~= ARGV[2] then return {'gone'} end
if s[9] then return {'reused'} end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local cut = math.max(tonumber(redis.call('GET', KEYS[2]) or 0), tonumber(ARGV[8]))
if tonumber(s[6]) <= cut or now >= tonumber(s[7]) then
  redis.call('DEL', KEYS[1])
  return {'gone'}
end
-- A rotation after the look is as good as one at the same time, however long ago it is by now.
local recent = (tonumber(ARGV[11]) or now) - s[5] < tonumber(ARGV[6])
local outcome, nonce
if ARGV[3] == s[2] then
  outcome = recent and 'kept' or 'rotated'
elseif ARGV[3] == s[3] and recent then
  outcome = 'repeated'
  nonce = s[4]
else
  -- The family is right, so this is a token that was handed out before the last one: somebody has a copy.
  redis.call('HSET', KEYS[1], 'dead', 1)
  redis.call('PEXPIRE', KEYS[1], ARGV[9])
  return {'reused'}
end
if ARGV[12] == 'look' then return {'good', s[8], string.format('%.0f', now)} end
local limit = tonumber(ARGV[10])
${LUA_ISSUED_AT}
local claims = s[8]
if ARGV[12] ~= '' then
  claims = ARGV[12]
  redis.call('HSET', KEYS[1], 'claims', claims)
end
if outcome == 'rotated' then
  nonce = ARGV[4]
  redis.call('HSET', KEYS[1], 'token', ARGV[5], 'previous', ARGV[3], 'nonce', nonce, 'rotated', string.format('%.0f', now))
end
local ttl = math.min(tonumber(ARGV[7]), s[7] - now)
redis.call('PEXPIRE', KEYS[1], ttl)
return {outcome, claims, iat, ttl, nonce or ''}
`)
