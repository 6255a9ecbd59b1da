import {
  type Connections,
  addReadinessCheck,
  isCluster,
  openConnections,
  refuseTaken,
  withDeadline,
} from '@fastify-scale/kit'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { Redis } from 'ioredis'
import { ScaleCache } from './cache.ts'
import { Deadlines } from './deadline.ts'
import { Engine } from './engine.ts'
import { failOption } from './errors.ts'
import { GuardBook } from './guard.ts'
import { createKeySpace } from './key.ts'
import { Memory } from './l1.ts'
import { LoopTurn } from './loop-turn.ts'
import { Masters } from './masters.ts'
import { type ScaleCacheOptions, resolveOptions } from './options.ts'
import { type Records, createRecords } from './records.ts'
import { addRouteCache } from './route/hooks.ts'
import type { RouteCacheOptions } from './route/options.ts'
import { Packer } from './serializer.ts'
import { settle } from './settle.ts'
import { TRACKING_OVERRIDES, Tracking } from './tracking.ts'
import { Wakes } from './wake.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The cache of @fastify-scale/cache. */
    cache: ScaleCache
  }
  interface FastifyContextConfig {
    /** Caches the route's responses, as an HTTP cache at the origin; `false`: not, and nothing is invalidated either. */
    cache?: RouteCacheOptions | false
  }
}

const plugin: FastifyPluginAsync<ScaleCacheOptions> = async function scaleCache(fastify, given) {
  const options = resolveOptions(given)
  refuseTaken(fastify, options.decorator, 'decorator', failOption)
  const connections = await openConnections({
    packageName: '@fastify-scale/cache',
    redis: given.redis,
    host: fastify as { redis?: unknown },
    log: fastify.log,
    fail: failOption,
  })
  const client = await connections.command({
    timeout: options.commandTimeout,
    // Deadlines are ours: they take a process that was kept from running into account.
    overrides: { commandTimeout: undefined },
  })
  // A Cluster connects to a master with its first command, which would count as a slow one.
  if (isCluster(client))
    await withDeadline(Promise.all(client.nodes('master').map((node) => node.ping())), 1_000, 'PING').catch(
      () => undefined,
    )
  const book = new GuardBook()
  const masters = new Masters(client, Math.max(500, options.commandTimeout), () => book.flush())
  const space = createKeySpace(connections.keyPrefix + options.prefix, connections.cluster)
  const recordsOver = (timeout: number, patient: boolean): Records =>
    createRecords({ client, masters, deadlines: new Deadlines(timeout), patient }, space, book)
  const records = recordsOver(options.commandTimeout, false)
  const { port, tags } = records
  const memory = options.l1 && new Memory(options.l1)
  const wakes = new Wakes()
  const engine = new Engine({
    ...records,
    writes: recordsOver(options.invalidateTimeout, true),
    book,
    memory,
    turn: new LoopTurn(),
    wakes,
    leaseMs: options.lease,
  })
  let closed = false
  const cache = new ScaleCache({
    engine,
    space,
    options,
    packer: new Packer(options.serializer, options.compressAbove),
    isClosed: () => closed,
  })
  const tracking =
    memory &&
    new Tracking({
      client,
      follower: connections.cluster ? undefined : trackingConnection(connections),
      prefixes: [space.valuePrefix, space.tagPrefix, space.epoch],
      onChange(key) {
        if (key === undefined) {
          memory.flush()
          book.flush()
          wakes.wakeAll()
        } else if (key.startsWith(space.valuePrefix)) {
          memory.drop(key)
          wakes.wake(key)
        } else book.drop(key)
      },
      onTrust(trusted) {
        book.trusted = trusted
        if (trusted) memory.trusted = true
        else {
          book.flush()
          memory.distrust()
        }
      },
      onRefused: (reason) =>
        fastify.log.warn({ reason }, 'cache: Redis refuses CLIENT TRACKING, so nothing is kept in process memory'),
    })

  fastify.decorate(options.decorator, cache)
  addRouteCache(fastify, engine, space, options, () => settle(options, port))
  addReadinessCheck(fastify, {
    name: `${options.decorator}: redis`,
    check: async () => void (await client.ping()),
  })
  fastify.addHook('onReady', async function scaleCachePrepare() {
    // Only saves the first loads a second run; where Redis is away it is left.
    tags.prepare().catch((error: unknown) => fastify.log.debug({ err: error }, 'cache: tag records not prepared'))
  })
  fastify.addHook('onClose', async function scaleCacheClose() {
    closed = true
    tracking?.close()
    masters.close()
    wakes.wakeAll()
    await connections.close()
  })
}

function trackingConnection(connections: Connections): Redis {
  return connections.follower({ name: 'tracking', overrides: TRACKING_OVERRIDES }) as Redis
}

/** @see ScaleCacheOptions */
export const scaleCache: FastifyPluginAsync<ScaleCacheOptions> = fp(plugin, {
  fastify: '5.x',
  name: '@fastify-scale/cache',
})
