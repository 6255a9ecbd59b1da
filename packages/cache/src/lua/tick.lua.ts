import { type Script, defineScript } from '@fastify-scale/kit'

/**
 * Advances the logical clock and returns it. It is at least Redis TIME in us, so that a clock that was evicted goes on
 * beyond where it was.
 *
 * KEYS clock. ARGV least reading. Returns the new reading as text.
 */
export const tickScript: Script = defineScript(
  `local t = redis.call('TIME')
local now = math.max(t[1] * 1000000 + t[2], tonumber(ARGV[1]))
local last = tonumber(redis.call('GET', KEYS[1]) or '0')
if now <= last then now = last + 1 end
local text = string.format('%.0f', now)
redis.call('SET', KEYS[1], text)
return text
`,
)
