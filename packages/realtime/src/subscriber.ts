import { type RedisClient, isCluster, withDeadline } from '@fastify-scale/kit'
import type { Redis } from 'ioredis'

type Kind = 'subscribe' | 'psubscribe' | 'ssubscribe'

export interface SubscriberOptions {
  /** A connection of the follower kind with `autoResubscribe: false`. */
  client: RedisClient
  /** Called when every subscription stands, at first and after each loss; `lostFor` is ms, or undefined at first. */
  onSubscribed?: (lostFor: number | undefined) => void
  /** How often a silent connection is asked for a sign of life, in ms. Default 5,000. */
  pingInterval?: number
  now?: () => number
}

/**
 * Keeps subscriptions over lost connections. ioredis would resubscribe by itself, but with promises that nobody catches,
 * and without saying when all stand again: what was published before that moment has to be read elsewhere.
 */
export class Subscriber {
  readonly #client: Redis
  readonly #cluster: boolean
  readonly #wanted: Record<Kind, Set<string>> = {
    subscribe: new Set(),
    psubscribe: new Set(),
    ssubscribe: new Set(),
  }
  readonly #onSubscribed: ((lostFor: number | undefined) => void) | undefined
  readonly #pingInterval: number
  readonly #now: () => number
  #watchdog: NodeJS.Timeout | undefined
  #lostAt: number | undefined
  #round = 0
  #standing = false
  #closed = false

  constructor({ client, onSubscribed, pingInterval = 5_000, now = () => performance.now() }: SubscriberOptions) {
    this.#client = client as Redis
    this.#cluster = isCluster(client)
    this.#onSubscribed = onSubscribed
    this.#pingInterval = pingInterval
    this.#now = now
    this.#client.on('ready', () => void this.#resubscribe())
    this.#client.on('close', () => this.#lost())
    if (client.status === 'ready') void this.#resubscribe()
    this.#watchdog = setInterval(() => void this.#ping(), pingInterval)
    this.#watchdog.unref()
  }

  /** True while every subscription stands. */
  get standing(): boolean {
    return this.#standing
  }

  /** Listens to ioredis' own message events. */
  on(event: string, listener: (...args: never[]) => void): void {
    this.#client.on(event as 'message', listener as never)
  }

  off(event: string, listener: (...args: never[]) => void): void {
    this.#client.off(event as 'message', listener as never)
  }

  /** Resolves when the subscription stands, or with false where the connection is away: it will be made then. */
  async add(kind: Kind, names: readonly string[]): Promise<boolean> {
    for (const name of names) this.#wanted[kind].add(name)
    if (this.#closed || this.#client.status !== 'ready') return false
    try {
      await this.#client[kind](...(names as [string]))
      return true
    } catch {
      // The connection broke, which 'close' tells too; or the server refused, and asking again is all there is to do.
      if (this.#client.status === 'ready') this.#client.disconnect(true)
      return false
    }
  }

  remove(kind: Kind, names: readonly string[]): void {
    for (const name of names) this.#wanted[kind].delete(name)
    if (this.#closed || this.#client.status !== 'ready') return
    const undo = { subscribe: 'unsubscribe', psubscribe: 'punsubscribe', ssubscribe: 'sunsubscribe' } as const
    this.#client[undo[kind]](...(names as [string])).catch(() => undefined)
  }

  close(): void {
    this.#closed = true
    this.#standing = false
    clearInterval(this.#watchdog)
  }

  #lost(): void {
    if (this.#standing) this.#lostAt = this.#now()
    this.#standing = false
    this.#round++
  }

  async #resubscribe(): Promise<void> {
    const round = ++this.#round
    try {
      await Promise.all([
        ...chunks([...this.#wanted.subscribe], 500).map((names) => this.#client.subscribe(...(names as [string]))),
        ...chunks([...this.#wanted.psubscribe], 500).map((names) => this.#client.psubscribe(...(names as [string]))),
        // One by one: on a cluster each may be another node's.
        ...[...this.#wanted.ssubscribe].map((name) => this.#client.ssubscribe(name)),
      ])
    } catch {
      if (round === this.#round && !this.#closed && this.#client.status === 'ready') this.#client.disconnect(true)
      return
    }
    if (round !== this.#round || this.#closed) return
    this.#standing = true
    const lostFor = this.#lostAt === undefined ? undefined : this.#now() - this.#lostAt
    this.#lostAt = undefined
    this.#onSubscribed?.(lostFor)
  }

  /** A peer that vanished without a word looks like a quiet one. */
  async #ping(): Promise<void> {
    // A cluster's subscriber connections are ioredis' own and can't be asked; those who need to know ask the data.
    if (this.#cluster || this.#client.status !== 'ready') return
    try {
      await withDeadline(this.#client.ping(), this.#pingInterval, 'PING')
    } catch {
      if (!this.#closed && this.#client.status === 'ready') this.#client.disconnect(true)
    }
  }
}

function chunks<T>(list: T[], size: number): T[][] {
  const parts: T[][] = []
  for (let i = 0; i < list.length; i += size) parts.push(list.slice(i, i + size))
  return parts
}
