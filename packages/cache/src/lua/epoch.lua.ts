import { type Script, defineScript } from '@fastify-scale/kit'

/**
 * Begins a new epoch where a server is met that was not known: what it holds may be from before a failover.
 *
 * KEYS epoch (hash: floor; r:<run id> of each server). ARGV clock, run id...
 * Returns {floor, 1 where a new epoch began}.
 */
export const epochScript: Script = defineScript(
  `local new = 0
for i = 2, #ARGV do
  if redis.call('HSETNX', KEYS[1], 'r:' .. ARGV[i], '1') == 1 then new = 1 end
end
local floor = redis.call('HGET', KEYS[1], 'floor')
if new == 1 or not floor then
  if not floor or tonumber(ARGV[1]) > tonumber(floor) then floor = ARGV[1] end
  redis.call('HSET', KEYS[1], 'floor', floor)
  new = 1
end
return {floor, new}
`,
)

/** KEYS epoch. ARGV clock. Raises the floor: everything loaded before is invalid. */
export const clearScript: Script = defineScript(
  `local floor = redis.call('HGET', KEYS[1], 'floor')
if not floor or tonumber(ARGV[1]) > tonumber(floor) then redis.call('HSET', KEYS[1], 'floor', ARGV[1]) end
return 1
`,
)
