import { type Script, defineScript } from '@fastify-scale/kit'

/**
 * Writes down that tags were invalidated. A record holds at most ARGV[2] tags: beyond that the oldest half is forgotten
 * and the floor raised over them, which can only invalidate more. A record that is missing begins with its floor here.
 *
 * KEYS record (sorted set: tag -> clock; '' -> floor). ARGV clock, most tags, tag...
 */
export const invalidateScript: Script = defineScript(
  `local key, now = KEYS[1], ARGV[1]
if redis.call('EXISTS', key) == 0 then redis.call('ZADD', key, now, '') end
for i = 3, #ARGV do redis.call('ZADD', key, 'GT', now, ARGV[i]) end
local most = tonumber(ARGV[2])
if redis.call('ZCARD', key) > most then
  local gone = redis.call('ZPOPMIN', key, math.floor(most / 2))
  redis.call('ZADD', key, 'GT', gone[#gone], '')
end
return 1
`,
)
