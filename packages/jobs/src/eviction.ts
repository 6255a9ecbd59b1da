import type { RedisClient } from '@fastify-scale/kit'

/**
 * The policy by which Redis would throw keys away when its memory is full, where it has one: jobs would be lost.
 * `undefined` for `noeviction`, and where Redis does not say.
 */
export async function evictionPolicy(client: RedisClient): Promise<string | undefined> {
  const info = String(await client.info('memory'))
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1]
  return policy === 'noeviction' ? undefined : policy
}
