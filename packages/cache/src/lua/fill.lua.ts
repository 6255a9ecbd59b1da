import { type Script, defineScript } from '@fastify-scale/kit'

/**
 * Stores what was loaded, if the lease is still ours: a delete in between took it away.
 *
 * KEYS value, lease. ARGV token, entry, ms to live. Returns 1 where it landed, 0 where the load was voided.
 */
export const fillScript: Script = defineScript(
  `if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
return 1
`,
)
