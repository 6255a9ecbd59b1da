import { backoff, createRedisClock, defineScript, pause, type RedisClient, type RedisClock } from '@fastify-scale/kit'
import { ACQUIRE, RELEASE, RENEW } from './lua/lease.lua.ts'
import type { Leases, SingletonContext } from './singleton.ts'

const acquireScript = defineScript(ACQUIRE)
const renewScript = defineScript(RENEW)
const releaseScript = defineScript(RELEASE)

export interface LeasesOptions {
  /** Of the command kind. */
  client: RedisClient
  /** Of a lease's key, before its name. */
  prefix: string
  /**
   * Whose leases they are: the launcher's id, the same in all its workers. The launcher lets only one of its workers ask
   * at a time, so the next one may take over at once what its dead predecessor held.
   */
  owner: string
  /** ms that a lease lasts when it is not renewed. */
  ttl: number
  /** Bound of a command in ms. */
  commandTimeout: number
  /** A command failed; the lease goes on being tried for. */
  onError(error: unknown, name: string): void
  /** A lease was lost while it was held. */
  onLost?(name: string): void
  /** Monotonic clock in ms. */
  now?: () => number
  clock?: RedisClock
}

/**
 * Leases in Redis with fencing numbers (Kleppmann, "How to do distributed locking", 2016). The holder counts from the
 * moment before it sent the last renewal that was granted, on its own monotonic clock, and stops a fifth of the lease
 * ahead of its end: it has stopped before Redis gives the lease to another, whether Redis, the network or the renewal
 * stalls. What no lease can prevent is a process that itself is stopped in the middle of a write: fencing is for that.
 */
export function createLeases(options: LeasesOptions): Leases {
  const { client, prefix, owner, ttl, onError, onLost, now = () => performance.now() } = options
  const { clock = createRedisClock(client, now) } = options
  const commandTimeout = Math.min(options.commandTimeout, Math.floor(ttl / 3))
  const margin = Math.ceil(ttl / 5)
  const poll = Math.min(500, Math.ceil(ttl / 4))

  async function acquire(key: string): Promise<{ fencing: number; left: number; sentAt: number }> {
    const deadline = await clock.deadline(commandTimeout)
    const sentAt = now()
    const [fencing = -1, left = 0] = (await acquireScript(client, [key], [owner, ttl, deadline])) as number[]
    return { fencing, left, sentAt }
  }

  /** Holds a lease that was granted until `use` has ended. */
  async function keep(
    name: string,
    key: string,
    granted: { fencing: number; sentAt: number },
    signal: AbortSignal,
    use: (context: SingletonContext) => Promise<void>,
  ): Promise<void> {
    const { fencing } = granted
    const lost = new AbortController()
    const ended = new AbortController()
    let expiry: NodeJS.Timeout | undefined
    const lose = (): void => {
      if (lost.signal.aborted || ended.signal.aborted) return
      lost.abort()
      onLost?.(name)
    }
    const extend = (sentAt: number): void => {
      clearTimeout(expiry)
      const left = sentAt + ttl - margin - now()
      if (left <= 0) lose()
      else expiry = setTimeout(lose, left)
    }
    const renewing = (async () => {
      const stop = AbortSignal.any([lost.signal, ended.signal])
      await pause(ttl / 3, stop)
      while (!stop.aborted) {
        const sentAt = now()
        try {
          const deadline = await clock.deadline(commandTimeout)
          const renewed = await renewScript(client, [key], [owner, fencing, ttl, deadline])
          if (renewed === 1) extend(sentAt)
          else lose()
          await pause(ttl / 3, stop)
        } catch (error) {
          if (stop.aborted) return
          onError(error, name)
          await pause(poll / 2, stop)
        }
      }
    })()
    extend(granted.sentAt)
    try {
      await use({ signal: AbortSignal.any([signal, lost.signal]), fencing })
    } finally {
      clearTimeout(expiry)
      ended.abort()
      await renewing
      if (!lost.signal.aborted)
        await releaseScript(client, [key], [owner, fencing]).catch((error: unknown) => onError(error, name))
    }
  }

  return {
    async hold(name, signal, use) {
      const key = `${prefix}${name}`
      let failures = 0
      while (!signal.aborted) {
        const granted = await acquire(key).catch((error: unknown): undefined => {
          onError(error, name)
        })
        if (!granted) {
          await pause(backoff(++failures, 50, poll), signal)
          continue
        }
        failures = 0
        if (granted.fencing > 0) await keep(name, key, granted, signal, use)
        else await pause(Math.max(1, Math.min(granted.left + 1, poll)), signal)
      }
    },
  }
}
