import { runReadinessChecks } from '@fastify-scale/kit'
import { type FaultProxy, faultProxy, startRedis, waitFor } from '@fastify-scale/dev-services'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { describe, expect, onTestFinished, test } from 'vitest'
import scaleSettings, { type SettingsOptions, loadedChannel } from '../src/index.ts'
import { schema, useSettings } from './helpers.ts'

const bench = useSettings()

describe('Redis frozen', () => {
  test('reads go on, their age grows, set rejects in time, and what was rejected does not happen later', async () => {
    const app = await bench.start({ timeout: 500 })
    const settings = bench.settings(app)
    await settings.set('limit', 1)
    expect(settings.age()).toBeLessThan(5_000)
    bench.redis.freeze()
    const start = performance.now()
    const changes = await Promise.allSettled([
      settings.set('limit', 2),
      settings.reset('limit'),
      settings.history('limit'),
    ])
    const took = performance.now() - start
    const aged = await waitFor(() => settings.age() > took && settings.age())
    bench.redis.thaw()
    expect(changes.map((change) => (change as PromiseRejectedResult).reason as unknown)).toEqual(
      Array.from(
        { length: 3 },
        () => expect.objectContaining({ code: 'SCALE_SETTINGS_UNAVAILABLE', statusCode: 503 }) as unknown,
      ),
    )
    expect(took).toBeGreaterThan(450)
    expect(took).toBeLessThan(2_500)
    expect(settings.get('limit')).toBe(1)
    await waitFor(() => settings.age() < aged)
    // A change made now comes after all that Redis found in its sockets when it thawed.
    await waitFor(() => settings.set('mail', 'you@example.org'))
    expect(settings.get('limit')).toBe(1)
    expect((await settings.history('limit')).map(({ value }) => value)).toEqual([1])
    expect((await runReadinessChecks(app)).ready).toBe(true)
  })
})

describe('Redis killed', () => {
  test('a process that has its settings stays ready; back and empty, all go back to the defaults and versions still grow', async () => {
    const apps = [await bench.start(), await bench.start()]
    const [one, two] = apps.map((app) => bench.settings(app))
    const before = await one?.set('limit', 1)
    await waitFor(() => two?.get('limit') === 1)
    const loads: unknown[] = []
    const stop = loadedChannel.subscribe((message) => loads.push(message))
    const seen: unknown[] = []
    two?.onChange('limit', (value, previous) => seen.push([value, previous]))
    await bench.redis.kill()
    await expect(one?.set('limit', 2)).rejects.toMatchObject({ code: 'SCALE_SETTINGS_UNAVAILABLE' })
    expect([one?.get('limit'), two?.get('limit')]).toEqual([1, 1])
    for (const app of apps) expect((await runReadinessChecks(app)).ready).toBe(true)
    await bench.redis.restart()
    await waitFor(() => one?.get('limit') === 10 && two?.get('limit') === 10)
    await waitFor(() => loads.length >= 2)
    stop()
    expect(seen).toEqual([[10, 1]])
    // A version read before the loss matches nothing that was set after it.
    const after = await one?.set('limit', 3)
    expect(after?.version).toBeGreaterThan(before?.version as number)
    await expect(two?.set('limit', 4, { ifVersion: before?.version as number })).rejects.toMatchObject({
      code: 'SCALE_SETTINGS_CONFLICT',
    })
    await waitFor(() => two?.get('limit') === 3)
  })
})

describe('Redis emptied while it runs', () => {
  test.each(['flushall', 'del'] as const)(
    '%s: every process goes on with the defaults and sees later changes',
    async (how) => {
      const [one, two] = [await bench.start(), await bench.start()].map((app) => bench.settings(app))
      await one?.set('limit', 1)
      await waitFor(() => two?.get('limit') === 1)
      const raw = new Redis(bench.redis.url)
      if (how === 'flushall') await raw.flushall()
      else for (const key of await raw.keys('*')) await raw.del(key)
      raw.disconnect()
      await waitFor(() => one?.get('limit') === 10 && two?.get('limit') === 10)
      await two?.set('limit', 5)
      expect(await waitFor(() => one?.get('limit') === 5)).toBe(true)
    },
  )

  test('and changed at once: no process keeps what is lost', async () => {
    const [one, two] = [await bench.start(), await bench.start()].map((app) => bench.settings(app))
    await one?.set('limit', 1)
    await waitFor(() => two?.get('limit') === 1)
    const raw = new Redis(bench.redis.url)
    await raw.flushall()
    raw.disconnect()
    await one?.set('mail', 'you@example.org')
    await waitFor(() => one?.get('limit') === 10 && two?.get('limit') === 10)
    expect([one?.get('mail'), two?.get('mail')]).toEqual(['you@example.org', 'you@example.org'])
  })

  test('a process that missed more than the stream keeps loads what is there now', async () => {
    const proxy = await faultProxy({ target: bench.redis.url })
    const one = bench.settings(await bench.start({ history: 1 }))
    const two = bench.settings(await bench.start({ history: 1, redis: proxy.url }))
    await one.set('mail', 'you@example.org')
    await waitFor(() => two.get('mail') === 'you@example.org')
    const seen: unknown[] = []
    two.onChange('limit', (value) => seen.push(value))
    proxy.freeze()
    for (let i = 1; i <= 300; i++) await one.set('limit', i)
    expect(seen).toEqual([])
    proxy.thaw()
    await waitFor(() => two.get('limit') === 300)
    // What was held back may still arrive, in order; the trimmed ones are made up for by the last.
    expect(seen).toEqual(seen.toSorted((a, b) => Number(a) - Number(b)))
    expect(seen.length).toBeLessThan(300)
    await proxy.stop()
  })
})

describe('a link that is slow or breaks', () => {
  test('a change whose answer is lost is made once, however many others are made before it is asked about again', async () => {
    const proxy = await faultProxy({ target: bench.redis.url })
    const other = bench.settings(await bench.start())
    const settings = bench.settings(await bench.start({ redis: proxy.url, timeout: '10s' }))
    await settings.set('mail', 'you@example.org')
    const { outcome } = await loseAnswer(proxy, () => settings.set('limit', 1, { by: 'the first' }))
    await waitFor(() => other.get('limit') === 1)
    for (let i = 1; i <= 120; i++) await other.set('limit', 1_000 + i)
    await proxy.accept()
    expect(await outcome).toMatchObject({ value: 1, previous: 10 })
    expect(other.get('limit')).toBe(1_120)
    const history = await other.history('limit', { limit: 1_000 })
    expect(history.filter(({ by }) => by === 'the first')).toHaveLength(1)
    await proxy.stop()
  })

  test('where it can not be told whether a change was made, it is not made again', async () => {
    const proxy = await faultProxy({ target: bench.redis.url })
    const other = bench.settings(await bench.start({ history: 1 }))
    const settings = bench.settings(await bench.start({ redis: proxy.url, timeout: '10s', history: 1 }))
    await settings.set('mail', 'you@example.org')
    const { outcome } = await loseAnswer(proxy, () => settings.set('limit', 1, { by: 'the first' }))
    await waitFor(() => other.get('limit') === 1)
    // The stream keeps about the last hundred of these.
    for (let i = 1; i <= 250; i++) await other.set('limit', 1_000 + i)
    await proxy.accept()
    await expect(outcome).rejects.toMatchObject({ code: 'SCALE_SETTINGS_UNAVAILABLE' })
    expect(other.get('limit')).toBe(1_250)
    await proxy.stop()
  })

  test('set is over within its timeout, however much of it the clock of Redis took', async () => {
    const proxy = await faultProxy({ target: bench.redis.url })
    const settings = bench.settings(await bench.start({ redis: proxy.url, timeout: '1s' }))
    proxy.intercept = ({ chunk }) => (chunk.includes('the first') ? 'hang' : undefined)
    proxy.latency(400)
    const start = performance.now()
    await expect(settings.set('limit', 1, { by: 'the first' })).rejects.toMatchObject({
      code: 'SCALE_SETTINGS_UNAVAILABLE',
    })
    expect(performance.now() - start).toBeLessThan(1_500)
    await proxy.stop()
  })
})

describe('Redis away at the start', () => {
  test('the service comes up with its defaults in bounded time and is not ready; it loads when Redis comes', async () => {
    const redis = await startRedis()
    const writer = bench.settings(await bench.start({ redis: redis.url, prefix: 'kept' }))
    await writer.set('limit', 7)
    redis.freeze()
    const start = performance.now()
    const app = await bench.start({ redis: redis.url, prefix: 'kept' })
    expect(performance.now() - start).toBeLessThan(8_000)
    const settings = bench.settings(app)
    expect(settings.get('limit')).toBe(10)
    expect(settings.age()).toBe(Number.POSITIVE_INFINITY)
    expect((await runReadinessChecks(app)).checks).toEqual([
      expect.objectContaining({ name: 'settings: loaded', ok: false }),
    ])
    redis.thaw()
    await waitFor(async () => (await runReadinessChecks(app)).ready)
    expect(settings.get('limit')).toBe(7)
    await redis.stop()
  })

  test.each([
    ['however long a change may take', {}, '1m'],
    ["however short Fastify's pluginTimeout is", { pluginTimeout: 1_000 }, '1s'],
  ])('registration does not fail, %s', async (_name, server, timeout) => {
    const redis = await startRedis()
    await redis.stop()
    const app = Fastify(server)
    onTestFinished(() => app.close())
    await app.register(scaleSettings, { redis: redis.url, schema, timeout } as SettingsOptions)
    expect(bench.settings(app).get('limit')).toBe(10)
  })
})

/** Calls `set` by 'the first'; its answer is lost with the connection, and the proxy refuses another one. */
async function loseAnswer<T>(proxy: FaultProxy, set: () => Promise<T>): Promise<{ outcome: Promise<T> }> {
  let asked: number | undefined
  let cut = false
  proxy.intercept = ({ direction, chunk, connection }) => {
    if (direction === 'request' && chunk.includes('the first')) asked = connection
    if (cut || direction !== 'response' || connection !== asked) return undefined
    cut = true
    return 'cut'
  }
  await proxy.refuse()
  const outcome = set()
  outcome.catch(() => undefined)
  await waitFor(() => cut)
  return { outcome }
}
