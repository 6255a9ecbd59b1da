import { type Script, defineScript } from '@fastify-scale/kit'
import { HEADER_BYTES } from '../entry.ts'

/**
 * A miss: the value, where one came meanwhile, or else the lease.
 *
 * KEYS value, lease. ARGV token, lease ms, header of the entry that was judged unusable, 1 where there was
 * one (else 0).
 * Returns {1, value}, {2} where the lease is ours, or {0, ms left of the other's lease}.
 */
export const acquireScript: Script = defineScript(
  `local v = redis.pcall('GET', KEYS[1])
if type(v) == 'string' and (ARGV[4] == '0' or string.sub(v, 1, ${HEADER_BYTES}) ~= ARGV[3]) then return {1, v} end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {2} end
return {0, redis.call('PTTL', KEYS[2])}
`,
  { buffers: true },
)
