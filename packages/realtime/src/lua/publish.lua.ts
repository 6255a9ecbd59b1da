import { LUA_LATE, type Script, defineScript } from '@fastify-scale/kit'
import { LUA_STATE } from './state.lua.ts'

/**
 * Stores messages and sends them to every process, in one step: number, log entry, publication.
 *
 * KEYS: meta, log, then one idempotency key for each message.
 * ARGV: newEpoch, knownEpoch, knownSeq, history, ttl, metaTtl (ms), channel, 'PUBLISH' or 'SPUBLISH', then for each
 * message: deadline (Redis TIME, ms), the time its idempotency key is kept (ms), payload.
 * Returns epoch, then for each message its number and 1 where the key was used before; -1 where its deadline is past.
 */
export const publishScript: Script = defineScript(`${LUA_LATE}${LUA_STATE}
local epoch, seq = state(ARGV[1], ARGV[2], ARGV[3])
local reply = { epoch }
local stored = false
for i = 3, #KEYS do
  local at = 9 + (i - 3) * 3
  local earlier = redis.call('GET', KEYS[i])
  if earlier then
    local earlierEpoch, earlierSeq = earlier:match('^(.*):(%d+)$')
    reply[#reply + 1] = earlierEpoch == epoch and tonumber(earlierSeq) or 0
    reply[#reply + 1] = 1
  elseif late(ARGV[at]) then
    reply[#reply + 1] = -1
    reply[#reply + 1] = 0
  else
    seq = seq + 1
    stored = true
    redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[4], string.format('%d-0', seq), 'm', ARGV[at + 2])
    redis.call('HSET', KEYS[1], 'seq', string.format('%d', seq))
    redis.call('SET', KEYS[i], epoch .. ':' .. string.format('%d', seq), 'PX', ARGV[at + 1])
    redis.call(ARGV[8], ARGV[7], epoch .. ' ' .. string.format('%d', seq) .. ' ' .. ARGV[at + 2])
    reply[#reply + 1] = seq
    reply[#reply + 1] = 0
  end
end
if stored then redis.call('PEXPIRE', KEYS[2], ARGV[5]) end
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return reply
`)
