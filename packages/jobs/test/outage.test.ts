import { runReadinessChecks } from '@fastify-scale/kit'
import { startRedis, waitFor } from '@fastify-scale/dev-services'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { describe, expect, test } from 'vitest'
import scaleJobs from '../src/index.ts'
import { useJobs } from './helpers.ts'

const bench = useJobs()

describe('Redis away', () => {
  test('at the start: the service comes up, is not ready, and works when Redis comes', async () => {
    const redis = await startRedis()
    redis.freeze()
    const start = performance.now()
    const app = await bench.create({ redis: redis.url, timeout: '300ms' })
    const work = app.jobs.define<number>('work', (n) => n + 1)
    await app.ready()
    expect(performance.now() - start).toBeLessThan(10_000)
    const { ready, checks } = await runReadinessChecks(app)
    expect([ready, checks.map(({ name, ok }) => [name, ok])]).toEqual([false, [['jobs: redis', false]]])
    await expect(work.add(1)).rejects.toMatchObject({ code: 'SCALE_JOBS_UNAVAILABLE' })
    redis.thaw()
    await waitFor(async () => (await runReadinessChecks(app)).ready)
    const { id } = await waitFor(() => work.add(2, { idempotencyKey: 'first' }).catch(() => undefined))
    expect(await app.jobs.waitUntilFinished(id)).toBe(3)
    await app.close()
    await redis.stop()
  })

  test('and back, killed and empty: workers go on without a restart', async () => {
    const redis = await startRedis()
    const app = await bench.create({ redis: redis.url })
    const work = app.jobs.define<number>('work', (n) => n + 1)
    await app.ready()
    expect(await app.jobs.waitUntilFinished((await work.add(1)).id)).toBe(2)
    await redis.kill()
    await expect(app.jobs.counts('default')).rejects.toMatchObject({ code: 'SCALE_JOBS_UNAVAILABLE' })
    await redis.restart()
    const { id } = await waitFor(() => work.add(5, { idempotencyKey: 'after' }).catch(() => undefined))
    expect(await app.jobs.waitUntilFinished(id)).toBe(6)
    await app.close()
    await redis.stop()
  })

  test.each(['frozen', 'dead'] as const)('%s when the service closes: it ends in bounded time', async (how) => {
    const redis = await startRedis()
    const app = Fastify({ pluginTimeout: 2_000 })
    await app.register(scaleJobs, { redis: redis.url })
    const work = app.jobs.define('work', () => 1)
    app.jobs.cron('tick', '* * * * * *', () => undefined)
    await app.ready()
    await app.jobs.waitUntilFinished((await work.add(1)).id)
    if (how === 'frozen') redis.freeze()
    else await redis.kill()
    const start = performance.now()
    await app.close()
    expect(performance.now() - start).toBeLessThan(15_000)
    await redis.stop()
  })
})

describe('what it makes it ends, and nothing else', () => {
  test('close leaves no connection behind', async () => {
    const raw = new Redis(bench.redis.url)
    const connections = async (): Promise<number> =>
      String(await raw.client('LIST'))
        .trim()
        .split('\n').length
    const before = await connections()
    const app = await bench.create()
    const work = app.jobs.define('work', () => 1)
    await app.ready()
    await app.jobs.waitUntilFinished((await work.add(1)).id)
    expect(await connections()).toBeGreaterThan(before)
    await app.close()
    await waitFor(async () => (await connections()) === before)
    raw.disconnect()
  })

  test("the user's client serves, its keyPrefix included, and stays open", async () => {
    const client = new Redis(bench.redis.url, { keyPrefix: 'mine:', commandTimeout: 1_000 })
    const app = await bench.create({ redis: client })
    const work = app.jobs.define('work', () => 'done')
    await app.ready()
    expect(await app.jobs.waitUntilFinished((await work.add(1)).id)).toBe('done')
    const raw = new Redis(bench.redis.url)
    expect((await raw.keys(`{mine:${bench.prefix}}:*`)).length).toBeGreaterThan(0)
    await app.close()
    expect(await client.ping()).toBe('PONG')
    client.disconnect()
    raw.disconnect()
  })

  test('two registrations with names and prefixes of their own do not meet', async () => {
    const app = Fastify()
    await app.register(scaleJobs, { redis: bench.redis.url, prefix: 'left' })
    await app.register(scaleJobs, { redis: bench.redis.url, prefix: 'right', decorator: 'others' })
    const { others } = app as unknown as { others: typeof app.jobs }
    const left = app.jobs.define('work', () => 'left')
    const right = others.define('work', () => 'right')
    await app.ready()
    const ids = [await left.add(1, { idempotencyKey: 'k' }), await right.add(1, { idempotencyKey: 'k' })]
    expect(await app.jobs.waitUntilFinished(ids[0]?.id as string)).toBe('left')
    expect(await others.waitUntilFinished(ids[1]?.id as string)).toBe('right')
    await app.close()
  })
})
