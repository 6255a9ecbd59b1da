import { type Script, defineScript } from '@fastify-scale/kit'
import { LUA_STATE } from './state.lua.ts'

/**
 * Reads a room's numbering and what its log has after a number, in one step.
 *
 * KEYS: meta, log. ARGV: newEpoch, knownEpoch, knownSeq, after (-1: no messages), count, metaTtl (ms).
 * Returns epoch, last number, then number and payload of each message.
 */
export const readScript: Script = defineScript(`${LUA_STATE}
local epoch, seq = state(ARGV[1], ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
local reply = { epoch, seq }
local after = tonumber(ARGV[4])
if after < 0 then return reply end
-- A place in another numbering says nothing about this one: from its beginning then.
if ARGV[2] ~= '' and ARGV[2] ~= epoch then after = 0 end
local entries = redis.call('XRANGE', KEYS[2], string.format('%d-0', after + 1), '+', 'COUNT', ARGV[5])
for _, entry in ipairs(entries) do
  reply[#reply + 1] = tonumber(entry[1]:match('^%d+'))
  reply[#reply + 1] = entry[2][2]
end
return reply
`)
