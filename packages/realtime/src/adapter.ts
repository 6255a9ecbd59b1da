import { type RedisClient, isCluster, withDeadline } from '@fastify-scale/kit'
import { createAdapter, createShardedAdapter } from '@socket.io/redis-adapter'
import type { Redis } from 'ioredis'
import type { Server } from 'socket.io'
import { dropChannel } from './channels.ts'
import { Subscriber } from './subscriber.ts'

export interface AdapterOptions {
  kind: 'redis' | 'redis-sharded'
  /** A connection of the patient kind, to publish. */
  publisher: RedisClient
  /** A connection of the follower kind. */
  follower: RedisClient
  /** Prefix of the channels. */
  channel: string
  /** Publishes that may wait while Redis is away. */
  pendingPublishes: number
  /** Called when Redis is back after `ms`: messages of other processes may have been missed. */
  onGap: (ms: number) => void
}

export interface RedisAdapter {
  readonly adapter: NonNullable<Parameters<Server['adapter']>[0]>
  /** Messages for other processes that were not sent, or perhaps not. */
  readonly dropped: number
  /** True while messages of other processes arrive. */
  readonly standing: boolean
  close(): void
}

/** Bytes that may wait while Redis is away. */
const PENDING_BYTES = 32 * 1_024 * 1_024
/** How long questions to the other processes wait for Redis, in ms. */
const QUESTION_MS = 5_000

/**
 * @socket.io/redis-adapter on connections of ours. It leaves every promise of its client uncaught, so that a lost Redis
 * ends the process, and lets what it publishes meanwhile wait without bound; it also calls `send_command`, which ioredis 6
 * has no more. So it is given clients that catch, count and bound.
 */
export function createRedisAdapter(options: AdapterOptions): RedisAdapter {
  const subscriber = new Subscriber({
    client: options.follower,
    onSubscribed: (lostFor) => {
      if (lostFor !== undefined) options.onGap(lostFor)
    },
  })
  const publisher = createPublisher(options.publisher, options.pendingPublishes)
  const sub = createSubscriberClient(subscriber)
  const adapter =
    options.kind === 'redis'
      ? createAdapter(publisher.client, sub, { key: options.channel, publishOnSpecificResponseChannel: true })
      : createShardedAdapter(publisher.client, sub, { channelPrefix: options.channel })
  return {
    adapter: adapter as unknown as RedisAdapter['adapter'],
    get dropped() {
      return publisher.dropped()
    },
    get standing() {
      return subscriber.standing && options.publisher.status === 'ready'
    },
    close: () => subscriber.close(),
  }
}

function createPublisher(client: RedisClient, most: number) {
  let waiting = 0
  let bytes = 0
  let dropped = 0

  function drop(reason: 'overflow' | 'failed'): number {
    dropped++
    dropChannel.publish(() => ({ reason, total: dropped }))
    return 0
  }

  async function send(size: number, run: () => Promise<unknown>): Promise<unknown> {
    if (waiting >= most || bytes + size > PENDING_BYTES) return drop('overflow')
    waiting++
    bytes += size
    try {
      return await run()
    } catch {
      return drop('failed')
    } finally {
      waiting--
      bytes -= size
    }
  }

  const ask = (node: Redis, name: string, args: string[]): Promise<unknown> =>
    withDeadline(node.call(name, args), QUESTION_MS, `asking Redis for ${name}`)
  type Callback = (error: Error | null, reply?: unknown) => void

  return {
    dropped: () => dropped,
    client: {
      isCluster: isCluster(client),
      publish: (channel: string, message: Buffer | string) =>
        send(message.length, () => client.publish(channel, message)),
      spublish: (channel: string, message: Buffer | string) =>
        send(message.length, () => client.spublish(channel, message)),
      async send_command(name: string, args: string[], callback: Callback) {
        let reply: unknown
        try {
          reply = await ask(client as Redis, name, args)
        } catch (error) {
          return callback(error as Error)
        }
        callback(null, reply)
      },
      nodes: () =>
        (isCluster(client) ? client.nodes('master') : []).map((node) => ({
          send_command: (name: string, args: string[]) => ask(node, name, args),
        })),
      // The adapter only adds listeners for errors, which the connection has.
      on: () => undefined,
      off: () => undefined,
    },
  }
}

function createSubscriberClient(subscriber: Subscriber) {
  const list = (names: string | string[]): string[] => (Array.isArray(names) ? names : [names])
  return {
    subscribe: (names: string | string[]) => subscriber.add('subscribe', list(names)),
    psubscribe: (names: string | string[]) => subscriber.add('psubscribe', list(names)),
    ssubscribe: (names: string | string[]) => subscriber.add('ssubscribe', list(names)),
    unsubscribe: (names: string | string[]) => subscriber.remove('subscribe', list(names)),
    punsubscribe: (names: string | string[]) => subscriber.remove('psubscribe', list(names)),
    sunsubscribe: (names: string | string[]) => subscriber.remove('ssubscribe', list(names)),
    on: (event: string, listener: (...args: never[]) => void) => {
      if (event !== 'error') subscriber.on(event, listener)
    },
    off: (event: string, listener: (...args: never[]) => void) => {
      if (event !== 'error') subscriber.off(event, listener)
    },
  }
}
