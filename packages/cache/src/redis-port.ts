import type { RedisClient } from '@fastify-scale/kit'
import type { Redis } from 'ioredis'
import type { Deadlines } from './deadline.ts'
import { UnavailableError } from './errors.ts'
import type { Master, Masters } from './masters.ts'

/** How the core reaches Redis: every call settles within its deadline or is refused by the breaker of its master. */
export interface RedisPort {
  readonly client: RedisClient
  readonly masters: Masters
  /** Of one command. */
  readonly deadlines: Deadlines
}

/** Server answers that mean "not now", as a lost connection does; other error replies are about the command itself. */
const AWAY =
  /^(READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|BUSY|CLUSTER_DOWN|All keys|Failed to refresh)/

/** True for errors that say nothing about the command and all about the server. */
export function isOutage(error: unknown): boolean {
  return !(error instanceof Error) || error.name !== 'ReplyError' || AWAY.test(error.message)
}

/**
 * Sends one command about a key through the breaker of its master. Rejects with SCALE_CACHE_UNAVAILABLE where that is
 * away or too slow, and with the server's own error otherwise.
 */
export function send<T>(port: RedisPort, key: string, command: (client: RedisClient) => Promise<T>): Promise<T> {
  return through(port, port.masters.of(key), () => command(port.client))
}

/** Sends one command to a master, in the same way. */
export function sendTo<T>(port: RedisPort, master: Master, command: (node: Redis) => Promise<T>): Promise<T> {
  return through(port, master, () => {
    const { node } = master
    return node ? command(node) : Promise.reject(new Error('no connection'))
  })
}

function through<T>(port: RedisPort, master: Master, command: () => Promise<T>): Promise<T> {
  const { deadlines } = port
  const { breaker } = master
  if (breaker.open) return Promise.reject(new UnavailableError(`Redis is away: ${breaker.reason ?? 'no answer'}`))
  return new Promise<T>((resolve, reject) => {
    const fail = (reason: string): void => {
      breaker.failed(reason)
      reject(new UnavailableError(`Redis did not answer: ${reason}`))
    }
    const waiter = deadlines.add(() => {
      waiter.late = undefined
      fail(`nothing in ${deadlines.ms} ms`)
    })
    master.gather()
    command().then(
      (reply) => {
        if (waiter.late === undefined) return
        waiter.late = undefined
        breaker.succeeded()
        resolve(reply)
      },
      (error: unknown) => {
        if (waiter.late === undefined) return
        waiter.late = undefined
        if (isOutage(error)) return fail(error instanceof Error ? error.message : String(error))
        breaker.succeeded()
        reject(error)
      },
    )
  })
}
