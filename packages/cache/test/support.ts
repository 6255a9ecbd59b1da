import { type RedisServer, startRedis, waitFor } from '@fastify-scale/dev-services'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterAll, afterEach, beforeAll } from 'vitest'
import {
  type GetOrSetOptions,
  type Loader,
  type ScaleCache,
  type ScaleCacheOptions,
  hitChannel,
  scaleCache,
} from '../src/index.ts'

let count = 0

/** A prefix of its own for each test. */
export const uniquePrefix = (): string => `t${process.pid}-${Date.now().toString(36)}-${++count}`

/** A ready app with a cache; close it. */
export async function appWith(
  options: ScaleCacheOptions,
  setup?: (app: FastifyInstance) => void,
): Promise<FastifyInstance> {
  const app = Fastify({ logger: process.env.DEBUG_LOG ? true : false })
  // Room for a busy machine; the tests of outages take the default.
  await app.register(scaleCache, { commandTimeout: '1s', ...options })
  setup?.(app)
  await app.ready()
  return app
}

/** Waits until reads of the key come from memory. */
export async function remembered(
  cache: ScaleCache,
  key: string,
  loader: Loader<unknown>,
  options?: GetOrSetOptions,
): Promise<void> {
  let level = ''
  const unsubscribe = hitChannel.subscribe((message) => {
    if (message.key === key) ({ level } = message)
  })
  try {
    await waitFor(async () => {
      level = ''
      await cache.getOrSet(key, loader, options)
      return level === 'l1'
    })
  } finally {
    unsubscribe()
  }
}

/** A Redis for the tests of a file; the apps put into `open` are closed after each. */
export function useRedis(): { readonly url: string; open: FastifyInstance[] } {
  let redis: RedisServer
  const open: FastifyInstance[] = []
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterEach(async () => {
    await Promise.all(open.splice(0).map((app) => app.close()))
  })
  afterAll(() => redis.stop())
  return {
    get url() {
      return redis.url
    },
    open,
  }
}
