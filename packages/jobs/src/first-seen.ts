import type { RedisClient } from '@fastify-scale/kit'

/** Longer than any series of ticks is without a start of a process, in ms: a cron job of once a year counts as known. */
const MEMORY = 400 * 86_400_000

/**
 * When a process of the service began to look for the ticks of a cron job for the first time, in ms since 1970; `now`, where
 * Redis does not know of one.
 */
export async function firstSeen(client: RedisClient, key: string, now: number): Promise<number> {
  if ((await client.set(key, now, 'PX', MEMORY, 'NX')) === 'OK') return now
  const stored = await client.get(key)
  await client.pexpire(key, MEMORY)
  return Number(stored ?? now)
}
