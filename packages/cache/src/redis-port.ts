import type { RedisClock, RedisClient } from '@fastify-scale/kit'
import { withinDeadline } from './deadline.ts'
import { UnavailableError } from './errors.ts'
import type { Breaker } from './breaker.ts'

/** How the core reaches Redis: every call settles within the connection's deadline or is refused by the breaker. */
export interface RedisPort {
  readonly client: RedisClient
  readonly breaker: Breaker
  readonly redisClock: RedisClock
  /** Longest time one command may take, in ms. */
  readonly timeout: number
}

/** Server answers that mean "not now", as a lost connection does; other error replies are about the command itself. */
const AWAY =
  /^(READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|BUSY|CLUSTER_DOWN|All keys|Failed to refresh)/

/** True for errors that say nothing about the command and all about the server. */
export function isOutage(error: unknown): boolean {
  return !(error instanceof Error) || error.name !== 'ReplyError' || AWAY.test(error.message)
}

/**
 * Sends one command through the breaker.
 *
 * @throws SCALE_CACHE_UNAVAILABLE where Redis is away or too slow; the server's own error otherwise
 */
export async function send<T>(port: RedisPort, command: (client: RedisClient) => Promise<T>): Promise<T> {
  const { breaker } = port
  if (breaker.open) throw new UnavailableError(`Redis is away: ${breaker.reason ?? 'no answer'}`)
  try {
    const reply = await withinDeadline(
      command(port.client),
      port.timeout,
      () => new Error(`no answer in ${port.timeout} ms`),
    )
    breaker.succeeded()
    return reply
  } catch (error) {
    if (!isOutage(error)) {
      breaker.succeeded()
      throw error
    }
    const reason = error instanceof Error ? error.message : String(error)
    breaker.failed(reason)
    throw new UnavailableError(`Redis did not answer: ${reason}`)
  }
}
