import { type RedisSource, isCluster, isRedisClient } from '@fastify-scale/kit'
import { fail } from './check.ts'

/**
 * Refuses what Socket.IO's adapter can't live with, and breaks without a word: `enableOfflineQueue: false` (its
 * subscriptions are lost before the connection stands) and `replyMapping: 'resp3'` (answers of another shape). Our own
 * connections have neither, but whoever writes it here expects it to count. `fastify.redis` is not asked: it is another
 * plugin's, and right as its own users need it.
 *
 * @throws SCALE_REALTIME_OPTION
 */
export function checkRedis(redis: RedisSource | undefined): void {
  for (const { enableOfflineQueue, replyMapping } of given(redis)) {
    // As text it comes from a URL's query.
    if (enableOfflineQueue === false || enableOfflineQueue === 'false')
      throw fail(
        "option 'redis' must not have enableOfflineQueue: false, with which subscriptions are lost: leave it out, or pass a URL of its own to this plugin",
      )
    if (replyMapping === 'resp3')
      throw fail(
        "option 'redis' must not have replyMapping: 'resp3', whose answers the Socket.IO adapter does not read: leave it out, or pass a URL of its own to this plugin",
      )
  }
}

interface Given {
  enableOfflineQueue?: unknown
  replyMapping?: unknown
}

/** Every place where such options may be. */
function given(redis: RedisSource | undefined): Given[] {
  if (typeof redis === 'string')
    return URL.canParse(redis) ? [Object.fromEntries(new URL(redis).searchParams) as Given] : []
  if (typeof redis !== 'object' || redis === null) return []
  if (!isRedisClient(redis)) return [redis as Given]
  // What a cluster was given for its nodes, and for itself.
  return isCluster(redis) ? [redis.options, redis.options.redisOptions ?? {}] : [redis.options]
}
