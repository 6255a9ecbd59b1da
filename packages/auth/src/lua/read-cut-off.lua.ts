import { type Script, defineScript } from '@fastify-scale/kit'

/**
 * Reads the cut-off for all, and the second in which that was.
 *
 * KEYS: cut-off for all
 * Returns {cut-off, now}, both in s since 1970
 */
export const readCutOffScript: Script = defineScript(`
return {redis.call('GET', KEYS[1]) or '0', redis.call('TIME')[1]}
`)
