import { type Script, defineScript } from '@fastify-scale/kit'

/**
 * Moves a cut-off (of a subject, or of all) to now and returns it, in s since 1970. `iat` has a resolution of one second:
 * in the second of an earlier cut-off tokens got `iat` = cut-off + 1, so that this one must lie a second after it.
 *
 * KEYS: cut-off
 * ARGV: ms to remember it, cut-off for all (0 for that one itself), seconds ahead
 */
export const cutOffScript: Script = defineScript(`
local now = redis.call('TIME')[1] + ARGV[3]
local cut = now
for _, earlier in ipairs({tonumber(redis.call('GET', KEYS[1]) or 0), tonumber(ARGV[2])}) do
  if earlier >= now then cut = math.max(cut, earlier + 1) end
end
redis.call('SET', KEYS[1], string.format('%.0f', cut), 'PX', ARGV[1])
return cut
`)
