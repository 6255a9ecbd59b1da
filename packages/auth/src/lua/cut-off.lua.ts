import { type Script, defineScript } from '@fastify-scale/kit'

/**
 * Moves a cut-off (of a subject, or of all) to now and returns it, in s since 1970. It must reach the tokens that an
 * earlier cut-off of this second has put one second ahead.
 *
 * KEYS: cut-off
 * ARGV: ms to remember it, the cut-off for all; for that one itself 'all': some subject may have been put ahead
 */
export const cutOffScript: Script = defineScript(`
local now = tonumber(redis.call('TIME')[1])
local cut = now
if ARGV[2] == 'all' or math.max(tonumber(redis.call('GET', KEYS[1]) or 0), tonumber(ARGV[2])) >= now then cut = now + 1 end
redis.call('SET', KEYS[1], string.format('%.0f', cut), 'PX', ARGV[1])
return cut
`)
