import { type Script, defineScript } from '@fastify-scale/kit'
import { FRESH_UNTIL_OFFSET } from '../entry.ts'

/**
 * Makes an entry stale from now on, where it is not stale already, and voids the loads in flight.
 *
 * KEYS value, lease. ARGV the time, as it stands in an entry. Returns 1 where there was an entry.
 */
export const expireScript: Script = defineScript(
  `redis.call('DEL', KEYS[2])
if redis.call('STRLEN', KEYS[1]) < ${FRESH_UNTIL_OFFSET + 8} then return redis.call('DEL', KEYS[1]) end
local freshUntil = redis.call('GETRANGE', KEYS[1], ${FRESH_UNTIL_OFFSET}, ${FRESH_UNTIL_OFFSET + 7})
if struct.unpack('>d', freshUntil) > struct.unpack('>d', ARGV[1]) then
  redis.call('SETRANGE', KEYS[1], ${FRESH_UNTIL_OFFSET}, ARGV[1])
end
return 1
`,
)
