import { type Script, defineScript } from '@fastify-scale/kit'

const RAISE = `local function raise(to)
  local floor = redis.call('HGET', KEYS[1], 'floor')
  if not floor or tonumber(to) > tonumber(floor) then redis.call('HSET', KEYS[1], 'floor', to) end
end
`

/**
 * Decides on the floor that a server brings which was met for the first time: once, whoever asks.
 *
 * KEYS epoch (hash: floor; r:<run id> the floor of each server, k:<run id> where every copy has it). ARGV clock, run id.
 * Returns {floor of this server, 1 where it was decided now}.
 */
export const meetScript: Script = defineScript(
  `${RAISE}local new = redis.call('HSETNX', KEYS[1], 'r:' .. ARGV[2], ARGV[1])
local floor = redis.call('HGET', KEYS[1], 'r:' .. ARGV[2])
raise(floor)
return {floor, new}
`,
)

/** KEYS epoch. ARGV floor. Raises the floor: everything loaded before is invalid. */
export const raiseScript: Script = defineScript(`${RAISE}raise(ARGV[1])
return 1
`)
