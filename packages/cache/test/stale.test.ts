import { type RedisServer, startRedis, waitFor } from '@fastify-scale/dev-services'
import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type ScaleCacheOptions, trackingChannel } from '../src/index.ts'
import { appWith, remembered, uniquePrefix } from './support.ts'

let redis: RedisServer
let admin: Redis
const open: FastifyInstance[] = []

beforeAll(async () => {
  redis = await startRedis({ args: ['--maxmemory-policy', 'noeviction', '--enable-protected-configs', 'yes'] })
  admin = new Redis(redis.url)
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((app) => app.close()))
})
afterAll(async () => {
  admin.disconnect()
  await redis.stop()
})

async function cacheWith(options: Partial<ScaleCacheOptions> = {}): Promise<FastifyInstance['cache']> {
  const app = await appWith({ redis: redis.url, prefix: uniquePrefix(), ...options })
  open.push(app)
  return app.cache
}

const failing = async (): Promise<string> => {
  throw new Error('the database is down')
}
/** Waits until a value that was stored for 50 ms is stale. */
const stale = (): Promise<unknown> => {
  const since = performance.now()
  return waitFor(() => performance.now() - since > 60, { interval: 5 })
}

describe('a Redis that takes no writes', () => {
  test('is answered from the loader, and nothing is stored: full', async () => {
    const cache = await cacheWith()
    await cache.getOrSet('warm', async () => 'kept')
    await admin.config('SET', 'maxmemory', '1')
    try {
      expect(await cache.getOrSet('warm', failing)).toBe('kept')
      expect(await cache.getOrSet('cold', async () => 1)).toBe(1)
      expect(await cache.getOrSet('cold', async () => 2)).toBe(2)
      await expect(cache.set('cold', 3)).rejects.toThrow('OOM')
    } finally {
      await admin.config('SET', 'maxmemory', '0')
    }
    expect(await cache.getOrSet('cold', async () => 4)).toBe(4)
    expect(await cache.getOrSet('cold', failing)).toBe(4)
  })

  test('and one that can not save; a cached route too', async () => {
    const app = await appWith({ redis: redis.url, prefix: uniquePrefix() }, (instance) => {
      instance.get('/', { config: { cache: { ttl: '60s' } } }, async () => 'page')
    })
    open.push(app)
    await app.cache.getOrSet('first', async () => 1)
    const [, dir = ''] = (await admin.config('GET', 'dir')) as string[]
    await admin.config('SET', 'save', '3600 1')
    // Where nothing can be written.
    await admin.config('SET', 'dir', '/proc')
    try {
      await admin.bgsave()
      await waitFor(async () => /rdb_last_bgsave_status:err/.test(await admin.info('persistence')))
      await expect(admin.set('x', '1')).rejects.toThrow('MISCONF')
      expect(await app.cache.getOrSet('cold', async () => 1)).toBe(1)
      expect((await app.inject('/')).body).toBe('page')
    } finally {
      await admin.config('SET', 'save', '')
      await admin.config('SET', 'dir', dir)
    }
  })
})

describe('a value that is still good for failures', () => {
  test('is not replaced by a cached error, whether callers wait or it is refreshed behind them', async () => {
    for (const times of [{ staleIfError: '60s' }, { staleWhileRevalidate: '60s', staleIfError: '60s' }] as const) {
      const cache = await cacheWith()
      const options = { ttl: 50, errorTtl: '5s', ...times }
      await cache.getOrSet('k', async () => 'good', options)
      await stale()
      let asked = 0
      const fails = async (): Promise<string> => {
        asked++
        return failing()
      }
      for (let n = 0; n < 3; n++) {
        expect(await cache.getOrSet('k', fails, options)).toBe('good')
        await waitFor(() => asked > n)
      }
    }
  })

  test('where there is none a failure is cached, also one that is undefined', async () => {
    const cache = await cacheWith()
    let asked = 0
    const nothing = async (): Promise<string> => {
      asked++
      // eslint-disable-next-line no-throw-literal
      throw undefined
    }
    for (let n = 0; n < 3; n++)
      await expect(cache.getOrSet('k', nothing, { errorTtl: '5s' })).rejects.toMatchObject({
        code: 'SCALE_CACHE_LOADER_FAILED',
      })
    expect(asked).toBe(1)
  })

  test('that can not be read any more is not answered', async () => {
    const prefix = uniquePrefix()
    const before = await cacheWith({ prefix, serializer: { serialize: () => 'not JSON', deserialize: () => 'x' } })
    await before.getOrSet('k', async () => 'x', { ttl: 50, staleIfError: '60s' })
    await stale()
    const after = await cacheWith({ prefix })
    await expect(after.getOrSet('k', failing, { staleIfError: '60s' })).rejects.toThrow('the database is down')
  })

  test('is not made young again by expire()', async () => {
    const cache = await cacheWith({ l1: false })
    const options = { ttl: 20, staleWhileRevalidate: 20, staleIfError: '60s' }
    await cache.getOrSet('k', async () => 'old', options)
    await stale()
    await cache.expire('k')
    expect(await cache.getOrSet('k', async () => 'new', options)).toBe('new')
  })
})

test.each(['nothing', 'invalidateTags', 'clear', 'delete'] as const)(
  'over a new link, memory has the last word while Redis is away, unless this process changed it: %s',
  async (change) => {
    const own = await startRedis()
    onTestFinished(() => own.stop())
    const options = { tags: 't', staleIfError: '60s' }
    const cache = await cacheWith({ redis: own.url, commandTimeout: 200 })
    await remembered(cache, 'k', async () => 'old', options)
    const links: boolean[] = []
    onTestFinished(trackingChannel.subscribe(({ armed }) => links.push(armed)))
    const client = new Redis(own.url)
    // The same server, so that no new epoch does what the change has to do.
    await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    client.disconnect()
    await waitFor(() => links.includes(false) && links.at(-1) === true)
    if (change !== 'nothing')
      await (change === 'clear' ? cache.clear() : cache[change](change === 'delete' ? 'k' : 't'))
    await own.kill()
    const answer = cache.getOrSet('k', failing, options)
    if (change === 'nothing') expect(await answer).toBe('old')
    else await expect(answer).rejects.toThrow('the database is down')
  },
)
