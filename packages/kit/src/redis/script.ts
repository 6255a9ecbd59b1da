import { createHash } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { RedisClient } from './source.ts'

/** A Lua script, called with its keys and arguments. */
export type Script = (
  client: RedisClient,
  keys: readonly string[],
  args: readonly (string | number | Buffer)[],
) => Promise<unknown>

/**
 * Makes a callable of a Lua script: EVALSHA, and EVAL where the server does not know it (after a restart or SCRIPT FLUSH).
 * A server that does not know a script has not run it, so the second call is not a repetition.
 *
 * @param options.buffers replies come as Buffers, not text
 */
export function defineScript(lua: string, options: { buffers?: boolean } = {}): Script {
  const sha = createHash('sha1').update(lua).digest('hex')
  const [evalsha, evaluate] = options.buffers
    ? (['evalshaBuffer', 'evalBuffer'] as const)
    : (['evalsha', 'eval'] as const)
  return async function runScript(client, keys, args) {
    const commands = client as unknown as Record<typeof evalsha | typeof evaluate, Redis['eval']>
    try {
      return await commands[evalsha](sha, keys.length, ...keys, ...args)
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
      return commands[evaluate](lua, keys.length, ...keys, ...args)
    }
  }
}

/**
 * Lua: `late(deadline)` is true when Redis TIME, in ms, is past the deadline. A script that must not run late (its
 * caller has given up and said so) begins with `if late(ARGV[n]) then return … end`.
 */
export const LUA_LATE = `local function late(deadline)
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000) > tonumber(deadline)
end
`
