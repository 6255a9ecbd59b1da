import { type Script, defineScript } from '@fastify-scale/kit'

/**
 * The holder's hand on its lease: longer, or (0 ms) given up.
 *
 * KEYS lease. ARGV token, ms. Returns 1, or 0 where the lease is not ours any more.
 */
export const holdScript: Script = defineScript(
  `if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`,
)
