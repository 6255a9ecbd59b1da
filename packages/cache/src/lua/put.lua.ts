import { LUA_LATE, type Script, defineScript } from '@fastify-scale/kit'

/**
 * Stores a value that the caller has, and voids the loads in flight. Late, it does nothing: its caller was told that it
 * failed, and a delete may have come in between.
 *
 * The value first: a Redis that is full refuses only the first write of a script.
 *
 * KEYS value, lease. ARGV entry, ms to live, deadline in Redis TIME. Returns 1, or 0 where it was late.
 */
export const putScript: Script = defineScript(
  `${LUA_LATE}if late(ARGV[3]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('DEL', KEYS[2])
return 1
`,
)
