import { defineScript } from './script.ts'
import { type RedisClient, isCluster } from './source.ts'

/** Tells deadlines in Redis TIME, for scripts that must do nothing when they run late (`LUA_LATE`). */
export interface RedisClock {
  /** The moment `ms` from now in Redis TIME (ms since 1970), on the early side by at most one round trip. */
  deadline(ms: number): Promise<number>
}

const RESYNC_MS = 10_000
const timeOf = defineScript("return redis.call('TIME')")

/**
 * Follows the server's clock by TIME, at most every 10 s and after each reconnect. The server's clock is read somewhere
 * between sending and answer; taking the answer's moment makes every deadline early rather than late.
 *
 * @param key one of the scripts': on a Cluster it is the clock of the node with this key, else that of any node
 */
export function createRedisClock(
  client: RedisClient,
  now: () => number = () => performance.now(),
  key?: string,
): RedisClock {
  let offset: number | undefined
  let syncedAt = 0
  let pending: Promise<number> | undefined
  const onReady = (): void => {
    offset = undefined
  }
  client.on('ready', onReady)

  async function sync(): Promise<number> {
    const asked = key !== undefined && isCluster(client) ? timeOf(client, [key], []) : client.time()
    const [seconds, micros] = (await asked) as [number | string, number | string]
    syncedAt = now()
    offset = Number(seconds) * 1_000 + Number(micros) / 1_000 - syncedAt
    return offset
  }

  return {
    async deadline(ms) {
      // The caller's time runs from now, also while the clock is being asked.
      const until = now() + ms
      const known =
        offset !== undefined && now() - syncedAt < RESYNC_MS
          ? offset
          : await (pending ??= sync().finally(() => (pending = undefined)))
      return Math.floor(until + known)
    },
  }
}
