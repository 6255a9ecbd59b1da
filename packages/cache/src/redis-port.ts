import { type RedisClient, reasonOf, retryWithin } from '@fastify-scale/kit'
import type { Redis } from 'ioredis'
import type { Breaker } from './breaker.ts'
import type { Deadlines, Waiter } from './deadline.ts'
import { UnavailableError } from './errors.ts'
import type { Master, Masters } from './masters.ts'

/** How the core reaches Redis: every call settles within its deadline or is refused by the breaker of its master. */
export interface RedisPort {
  readonly client: RedisClient
  readonly masters: Masters
  /** Of one command. */
  readonly deadlines: Deadlines
  /** True for writes that a caller asked for, which no loader can stand in for: see `isRefused`. */
  readonly patient: boolean
}

/** Server answers that mean "not now", as a lost connection does; other error replies are about the command itself. */
const AWAY =
  /^(READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|BUSY|CLUSTER_DOWN|All keys|Failed to refresh)/

/** True for errors that say nothing about the command and all about the server. */
export function isOutage(error: unknown): boolean {
  return !(error instanceof Error) || error.name !== 'ReplyError' || AWAY.test(error.message)
}

/** True where Redis can't do now what every load needs: it is away, or it is full or can't save and takes no writes. */
export function isUnable(error: unknown): boolean {
  if (error instanceof UnavailableError) return true
  return error instanceof Error && error.name === 'ReplyError' && /^(OOM|MISCONF)\b/.test(error.message)
}

/**
 * Sends one command about a key through the breaker of its master. Rejects with SCALE_CACHE_UNAVAILABLE where that is
 * away or too slow, and with the server's own error otherwise.
 */
export function send<T>(port: RedisPort, key: string, command: (client: RedisClient) => Promise<T>): Promise<T> {
  return through(port, port.masters.of(key), () => command(port.client), true)
}

/** The same for what goes along with another command to that master: together they fail once. */
export function sendAlong<T>(port: RedisPort, key: string, command: (client: RedisClient) => Promise<T>): Promise<T> {
  return through(port, port.masters.of(key), () => command(port.client), false)
}

/**
 * The same for an invalidation, which may be made twice: sent again where a connection broke. On a port that is patient it
 * has more time, and goes to a server that counts as away as well, unless that has lasted.
 */
export async function sendPatiently<T>(
  port: RedisPort,
  key: string,
  command: (client: RedisClient) => Promise<T>,
): Promise<T> {
  const { masters, deadlines } = port
  const { breaker } = masters.of(key)
  if (isRefused(port, breaker)) throw isAway(breaker)
  const attempts = retryWithin(
    deadlines.ms,
    () => {
      masters.of(key).gather()
      return command(port.client)
    },
    (error) => !isOutage(error),
  )
  try {
    const reply = await deadlines.guard(attempts, () => new Error(`nothing in ${deadlines.ms} ms`))
    breaker.succeeded()
    return reply
  } catch (error) {
    if (!isOutage(error)) {
      breaker.succeeded()
      throw error
    }
    const reason = reasonOf(error)
    breaker.failed(reason)
    throw new UnavailableError(`Redis did not answer: ${reason}`)
  }
}

/** Sends one command to a master, in the same way. */
export function sendTo<T>(port: RedisPort, master: Master, command: (node: Redis) => Promise<T>): Promise<T> {
  return through(
    port,
    master,
    () => {
      const { node } = master
      return node ? command(node) : Promise.reject(new Error('no connection'))
    },
    true,
  )
}

function through<T>(port: RedisPort, master: Master, command: () => Promise<T>, counts: boolean): Promise<T> {
  const { breaker } = master
  if (isRefused(port, breaker)) return Promise.reject(isAway(breaker))
  return new Promise<T>((resolve, reject) => {
    const call = new Call<T>(breaker, port.deadlines, counts, resolve, reject)
    port.deadlines.add(call)
    master.gather()
    command().then(
      (reply) => call.answer(reply),
      (error: unknown) => call.fail(error),
    )
  })
}

/** Whether nothing is sent to this master: it counts as away, and for a port that is patient has for as long as it waits. */
export function isRefused({ patient, deadlines }: RedisPort, breaker: Breaker): boolean {
  return patient ? breaker.isOpenFor(deadlines.ms) : breaker.open
}

function isAway({ reason }: Breaker): Error {
  return new UnavailableError(`Redis is away: ${reason ?? 'no answer'}`)
}

/** One command under way. */
class Call<T> implements Waiter {
  at = 0
  done = false
  private readonly breaker: Breaker
  private readonly deadlines: Deadlines
  private readonly counts: boolean
  private readonly resolve: (reply: T) => void
  private readonly reject: (error: unknown) => void

  constructor(
    breaker: Breaker,
    deadlines: Deadlines,
    counts: boolean,
    resolve: (reply: T) => void,
    reject: (error: unknown) => void,
  ) {
    this.breaker = breaker
    this.deadlines = deadlines
    this.counts = counts
    this.resolve = resolve
    this.reject = reject
  }

  answer(reply: T): void {
    if (this.done) return
    this.done = true
    this.breaker.succeeded()
    this.resolve(reply)
  }

  fail(error: unknown): void {
    if (this.done) return
    if (isOutage(error)) return this.away(error instanceof Error ? error.message : String(error))
    this.done = true
    this.breaker.succeeded()
    this.reject(error)
  }

  late(): void {
    this.away(`nothing in ${this.deadlines.ms} ms`)
  }

  private away(reason: string): void {
    this.done = true
    if (this.counts) this.breaker.failed(reason)
    this.reject(new UnavailableError(`Redis did not answer: ${reason}`))
  }
}
