import { type RedisServer, startRedis, waitFor } from '@fastify-scale/dev-services'
import type { FastifyInstance } from 'fastify'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type ScaleCache, type ScaleCacheOptions, type SetOptions, breakerChannel } from '../src/index.ts'
import { KINDS, type Servers, startServers } from './servers.ts'
import { appWith as appWithRoom, remembered, uniquePrefix } from './support.ts'

const appWith = (options: ScaleCacheOptions): Promise<FastifyInstance> =>
  appWithRoom({ commandTimeout: 100, ...options })

let redis: RedisServer
let app: FastifyInstance
const rejections: unknown[] = []
const onRejection = (error: unknown): void => void rejections.push(error)

beforeEach(async () => {
  process.on('unhandledRejection', onRejection)
  redis = await startRedis()
  app = await appWith({ redis: redis.url, prefix: uniquePrefix() })
})
afterEach(async () => {
  redis.thaw()
  await app.close()
  await redis.stop()
  process.off('unhandledRejection', onRejection)
  expect(rejections.splice(0)).toEqual([])
})

// At default settings a call takes at most 150 ms beside its loader; asserted with five times the room.
const BOUND = 750

/** 100 gets a second while `during` goes on; how long each took, and what it answered. */
async function load(
  app: FastifyInstance,
  during: () => Promise<void>,
): Promise<{ took: number[]; answers: unknown[] }> {
  const took: number[] = []
  const calls: Promise<unknown>[] = []
  let n = 0
  const timer = setInterval(() => {
    const start = performance.now()
    const call = app.cache.getOrSet(`k${n++ % 20}`, async () => 'loaded', { ttl: 200 })
    calls.push(call.finally(() => took.push(performance.now() - start)))
  }, 10)
  try {
    await during()
  } finally {
    clearInterval(timer)
  }
  return { took, answers: await Promise.all(calls) }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** A busy machine may take longer than the limit. */
async function store(app: FastifyInstance, value: unknown, options?: SetOptions): Promise<void> {
  await waitFor(() => app.cache.set('k', value, options).then(() => true))
}

async function backAgain(app: FastifyInstance): Promise<void> {
  const start = performance.now()
  await waitFor(async () => {
    await app.cache.set('back', 1)
    return (await app.cache.get('back')) === 1
  })
  expect(performance.now() - start).toBeLessThan(5_000)
}

test('a read waits for a frozen Redis once', async () => {
  await app.close()
  app = await appWith({ redis: redis.url, prefix: uniquePrefix(), l1: false })
  await app.cache.getOrSet('k', async () => 1)
  const opened: unknown[] = []
  const unsubscribe = breakerChannel.subscribe((message) => opened.push(message))
  try {
    redis.freeze()
    // The third failure in a row opens the breaker: two reads make two.
    await app.cache.getOrSet('k', async () => 1)
    await app.cache.getOrSet('k', async () => 1)
    expect(opened).toEqual([])
    await app.cache.getOrSet('k', async () => 1)
    expect(opened).toMatchObject([{ open: true }])
  } finally {
    unsubscribe()
  }
})

test('a killed Redis: the same', async () => {
  const { took, answers } = await load(app, async () => {
    await pause(300)
    await redis.kill()
    await pause(1_000)
    await redis.restart()
    await backAgain(app)
  })
  expect(answers.length).toBeGreaterThan(50)
  expect(new Set(answers)).toEqual(new Set(['loaded']))
  expect(Math.max(...took)).toBeLessThan(BOUND)
})

test('while Redis is away callers share loads, and few loaders run at once', async () => {
  await app.close()
  app = await appWith({ redis: redis.url, prefix: uniquePrefix(), maxLoaders: 3 })
  await redis.kill()
  let running = 0
  let most = 0
  let loads = 0
  const loader = async (): Promise<number> => {
    loads++
    most = Math.max(most, ++running)
    await pause(20)
    running--
    return 1
  }
  await Promise.all(Array.from({ length: 100 }, (_, i) => app.cache.getOrSet(`k${i % 10}`, loader)))
  expect(loads).toBe(10)
  expect(most).toBe(3)
  await redis.restart()
})

test('while Redis is away nobody is answered by a load that began before the call: another process may have changed it', async () => {
  await redis.kill()
  let version = 'old'
  let open!: () => void
  const opened = new Promise<void>((resolve) => (open = resolve))
  let loads = 0
  const loader = async (): Promise<string> => {
    loads++
    const seen = version
    await opened
    return seen
  }
  const early = app.cache.getOrSet('k', loader)
  await waitFor(() => loads === 1)
  version = 'new'
  const late = Array.from({ length: 20 }, () => app.cache.getOrSet('k', loader))
  // Until those have given Redis up too: until then nothing could have been shared.
  await pause(150)
  expect(loads).toBe(1)
  open()
  expect(await early).toBe('old')
  expect(new Set(await Promise.all(late))).toEqual(new Set(['new']))
  expect(loads).toBe(2)
  await redis.restart()
})

test('a restarted Redis begins a new epoch: nothing older is served', async () => {
  // With persistence, so that the old entries are there again, and the deletes since the last save are not.
  const kept = await startRedis({ args: ['--save', '3600', '1'] })
  const prefix = uniquePrefix()
  const [one, two] = [
    await appWithRoom({ redis: kept.url, prefix }),
    await appWithRoom({ redis: kept.url, prefix, l1: false }),
  ]
  try {
    await one.cache.set('k', 'old', { ttl: '1h' })
    expect(await two.cache.get('k')).toBe('old')
    const { Redis } = await import('ioredis')
    const admin = new Redis(kept.url)
    await admin.save()
    await one.cache.delete('k')
    admin.disconnect()
    await kept.kill()
    await kept.restart()
    await waitFor(async () => {
      await one.cache.set('alive', 1)
      return (await two.cache.get('alive')) === 1
    })
    expect(await two.cache.get('k')).toBeUndefined()
    expect(await one.cache.get('k')).toBeUndefined()
  } finally {
    await Promise.all([one.close(), two.close()])
    await kept.stop()
  }
})

test('registration does not fail because Redis is away; readiness does', async () => {
  const { runReadinessChecks } = await import('@fastify-scale/kit')
  expect((await runReadinessChecks(app)).ready).toBe(true)
  await redis.kill()
  const late = await appWith({ redis: redis.url, prefix: uniquePrefix() })
  try {
    expect(await late.cache.getOrSet('k', () => 1)).toBe(1)
    const { ready, checks } = await runReadinessChecks(late)
    expect(ready).toBe(false)
    expect(checks[0]?.name).toBe('cache: redis')
    await redis.restart()
    await waitFor(async () => (await runReadinessChecks(late)).ready)
  } finally {
    await late.close()
  }
})

test('stale if Redis and the loader are both away, within staleIfError', async () => {
  const options = { ttl: '60s', staleIfError: '60s' }
  await remembered(app.cache, 'k', () => 'known', options)
  await redis.kill()
  const fail = async (): Promise<string> => {
    throw new Error('source is down')
  }
  await waitFor(async () => (await app.cache.getOrSet('k', fail, options)) === 'known')
  await expect(app.cache.getOrSet('never-seen', fail, options)).rejects.toThrow('source is down')
  await redis.restart()
})

test('a connection that is lost and soon back: writes are carried out', async () => {
  await app.cache.set('k', 1, { tags: 't' })
  await redis.kill()
  const { cache } = app
  const calls = [cache.delete('k'), cache.expire('k'), cache.invalidateTags('t'), cache.clear(), cache.set('x', 1)]
  await redis.restart()
  await Promise.all(calls)
})

describe.each(KINDS)('frozen: %s', (kind) => {
  let servers: Servers

  beforeAll(async () => {
    servers = await startServers(kind)
  })
  beforeEach(async () => {
    await app.close()
    app = await appWith({ redis: servers.redis, prefix: uniquePrefix() })
  })
  afterEach(() => servers.thaw())
  afterAll(() => servers.stop())

  test('a frozen Redis: every call is answered within its bound, and all is as before when it goes on', async () => {
    const { took, answers } = await load(app, async () => {
      await pause(300)
      servers.freeze()
      await pause(2_000)
      servers.thaw()
      await backAgain(app)
    })
    expect(answers.length).toBeGreaterThan(100)
    expect(new Set(answers)).toEqual(new Set(['loaded']))
    expect(Math.max(...took)).toBeLessThan(BOUND)
  })

  test('what could not be carried out is rejected, never acknowledged', async () => {
    await store(app, 1, { tags: 't' })
    servers.freeze()
    const calls = [
      app.cache.delete('k'),
      app.cache.expire('k'),
      app.cache.invalidateTags('t'),
      app.cache.clear(),
      app.cache.set('k', 2),
      app.cache.namespace('n').clear(),
    ]
    for (const call of await Promise.allSettled(calls)) {
      expect(call.status).toBe('rejected')
      expect((call as PromiseRejectedResult).reason).toMatchObject({ code: 'SCALE_CACHE_UNAVAILABLE', statusCode: 503 })
    }
    expect(await app.cache.get('other')).toBeUndefined()
  })

  test.each([
    ['delete', (cache) => cache.delete('k')],
    ['expire', (cache) => cache.expire('k')],
    ['invalidateTags', (cache) => cache.invalidateTags('t')],
    ['clear', (cache) => cache.clear()],
    ['set', (cache) => cache.set('k', 'new')],
    ['set with tags', (cache) => cache.set('k', 'new', { tags: ['t', 'u'] })],
  ] satisfies [string, (cache: ScaleCache) => Promise<void>][])(
    'a stall that reads do not wait for: %s does, and is carried out',
    async (_name, write) => {
      await store(app, 'old', { tags: 't' })
      servers.freeze()
      // Until nobody who reads waits for Redis any more.
      let asked = 0
      await waitFor(async () => {
        const start = performance.now()
        await app.cache.getOrSet(`unknown${asked++}`, () => 'loaded')
        return performance.now() - start < 20
      })
      const thaw = setTimeout(() => servers.thaw(), 300)
      const done = write(app.cache).finally(() => clearTimeout(thaw))
      await done
      await backAgain(app)
      expect(await app.cache.get('k')).not.toBe('old')
    },
  )

  test('an outage that lasts: a write is refused at once', async () => {
    servers.freeze()
    let took = Number.POSITIVE_INFINITY
    await waitFor(async () => {
      await app.cache.getOrSet('k', () => 'loaded')
      const start = performance.now()
      expect(await Promise.allSettled([app.cache.delete('k'), app.cache.set('k', 1)])).toMatchObject(
        Array.from({ length: 2 }, () => ({ reason: { code: 'SCALE_CACHE_UNAVAILABLE' } })),
      )
      took = performance.now() - start
      return took < 50
    })
    expect(took).toBeLessThan(50)
  })

  test('a set that was rejected because Redis was frozen does not land when it goes on', async () => {
    await store(app, 'first')
    servers.freeze()
    await expect(app.cache.set('k', 'late')).rejects.toMatchObject({ code: 'SCALE_CACHE_UNAVAILABLE' })
    servers.thaw()
    await waitFor(async () => (await app.cache.get('k')) !== undefined)
    expect(await app.cache.get('k')).toBe('first')
  })
})
