import { type Script, defineScript } from '@fastify-scale/kit'

/**
 * Appends revocations to the stream and trims what can't matter any more, by the clock of Redis.
 *
 * KEYS: stream
 * ARGV: ms that an entry can matter; then for each entry: kind, id, at, made (s since 1970; empty: now)
 */
export const publishScript: Script = defineScript(`
local t = redis.call('TIME')
local limit = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000) - ARGV[1])
for i = 2, #ARGV, 4 do
  local made = ARGV[i + 3]
  if made == '' then made = t[1] end
  redis.call('XADD', KEYS[1], 'MINID', '~', limit, '*', 'v', 1, 'kind', ARGV[i], 'id', ARGV[i + 1], 'at', ARGV[i + 2], 'made', made)
end
return tonumber(t[1])
`)
