import Fastify, { type FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import scaleCluster, { type ScaleClusterOptions } from '../src/index.ts'
import { faultProxy, freePort, type RedisServer, startRedis, waitFor } from './helpers.ts'

let redis: RedisServer
const closers: (() => unknown)[] = []
let name = 0

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

/** A process without the launcher: each is a launcher of its own to the others. */
async function start(
  options: ScaleClusterOptions = {},
  setUp?: (app: FastifyInstance) => void,
): Promise<FastifyInstance> {
  const app = Fastify()
  closers.unshift(() => app.close())
  await app.register(scaleCluster, { redis: redis.url, name: `test-${name}`, mount: '/-', ...options })
  setUp?.(app)
  await app.ready()
  return app
}
async function startTwo(): Promise<[FastifyInstance, FastifyInstance]> {
  name++
  return [await start(), await start()]
}

describe('with redis', () => {
  it('one singleton of two processes runs, and the other takes over when the first closes', async () => {
    const [a, b] = await startTwo()
    const [one, two] = [a.cluster.singleton('job', () => undefined), b.cluster.singleton('job', () => undefined)]
    await waitFor(() => one.running !== two.running)
    const [first, second] = one.running ? [a, two] : [b, one]
    const began = performance.now()
    await first.close()
    await waitFor(() => second.running)
    expect(performance.now() - began).toBeLessThan(3_000)
  })

  it('one loads a shared value and all have it; a process that comes later too; refresh works from any', async () => {
    const [a, b] = await startTwo()
    let loads = 0
    const values = [a, b].map((app) => app.cluster.shared('n', { every: '1h' }, () => ++loads))
    await waitFor(() => values.every((value) => value.loaded))
    const late = (await start()).cluster.shared('n', { every: '1h' }, () => ++loads)
    await waitFor(() => late.loaded)
    expect([...values, late].map((value) => value.value)).toEqual([1, 1, 1])
    for (const [i, value] of [...values, late].entries()) expect(await value.refresh()).toBe(i + 2)
    await waitFor(() => [...values, late].every((value) => value.value === 4))
    expect(loads).toBe(4)
  })

  it('a value that was there is known also to a process that asks for it late', async () => {
    const [a, b] = await startTwo()
    const load = (): string => 'loaded'
    const values = ['early', 'late'].map((one) => a.cluster.shared(one, { every: '1h' }, load))
    await waitFor(() => values.every((value) => value.loaded))
    // With the one, b has read all that there is.
    const early = b.cluster.shared('early', { every: '1h' }, load)
    await waitFor(() => early.loaded)
    const late = b.cluster.shared('late', { every: '1h' }, load)
    await waitFor(() => late.loaded)
    expect((await b.inject('/-/readyz')).statusCode).toBe(200)
  })

  it('a refresh says at once why the load failed on the other machine, and all have the reason', async () => {
    const [a, b] = await startTwo()
    let load = (): number => 1
    const one = a.cluster.shared('n', { every: '1h' }, () => load())
    await waitFor(() => one.loaded)
    const two = b.cluster.shared('n', { every: '1h' }, () => 2)
    await waitFor(() => two.loaded)
    load = () => {
      throw new RangeError('database is away')
    }
    const failed = { code: 'SCALE_CLUSTER_LOAD_FAILED', message: expect.stringContaining('database is away') as string }
    await expect(two.refresh()).rejects.toMatchObject(failed)
    expect([one.error, two.error]).toEqual(['database is away', 'database is away'])
    load = () => 3
    expect(await two.refresh()).toBe(3)
    expect([one.error, two.error]).toEqual([undefined, undefined])
  })

  it.each(['closed', 'gone'])('a refresh is not lost while its machine is %s and another takes over', async (how) => {
    name++
    const proxy = await faultProxy({ target: redis.url })
    closers.push(() => proxy.stop())
    const options = { lease: '1s', commandTimeout: 200 }
    const [a, b] = [await start({ ...options, redis: proxy.url }), await start(options)]
    const timing = { every: '1h', timeout: '10s' }
    const one = a.cluster.shared('n', timing, () => 'a')
    await waitFor(() => one.loaded)
    const two = b.cluster.shared('n', timing, () => 'b')
    await waitFor(() => two.loaded)
    if (how === 'gone') proxy.freeze()
    const closed = how === 'closed' ? a.close() : undefined
    // Before it lets go, the one that closes may still have served it.
    expect(how === 'gone' ? ['b'] : ['a', 'b']).toContain(await two.refresh())
    await closed
  })

  it('a refresh that nobody answers says so', async () => {
    name++
    const proxy = await faultProxy({ target: redis.url })
    closers.push(() => proxy.stop())
    const [a, b] = [await start(), await start({ redis: proxy.url, commandTimeout: 100 })]
    const timing = { every: '1h', timeout: 500 }
    const one = a.cluster.shared('n', timing, () => 1)
    // The other one is to ask for it: who loads it itself has another error.
    await waitFor(() => one.loaded)
    const two = b.cluster.shared('n', timing, () => 1)
    await waitFor(() => two.loaded)
    proxy.freeze()
    await expect(two.refresh()).rejects.toMatchObject({ code: 'SCALE_CLUSTER_NO_ANSWER', statusCode: 503 })
  })

  it('status tells of all processes, the own one first, and forgets those that are gone', async () => {
    const [a, b] = await startTwo()
    const ids = async (app: FastifyInstance): Promise<string[]> => (await app.cluster.status()).map((one) => one.id)
    await waitFor(async () => (await ids(a)).length === 2 && (await ids(b)).length === 2)
    expect(await ids(b)).toEqual((await ids(a)).reverse())
    await b.close()
    await waitFor(async () => (await ids(a)).length === 1)
    name++
    const stranger = await start()
    expect(await ids(stranger)).toHaveLength(1)
  })

  it('starts while Redis is away, is not ready, says so, and goes on when it comes', async () => {
    name++
    const port = await freePort()
    const began = performance.now()
    const app = await start({ redis: `redis://127.0.0.1:${port}` }, (one) => {
      one.cluster.singleton('job', () => undefined)
    })
    expect(performance.now() - began).toBeLessThan(10_000)
    const response = await app.inject('/-/readyz')
    expect(response.statusCode).toBe(503)
    expect(response.body).toContain('cluster: redis')
    const [own] = await app.cluster.status()
    expect(own?.warnings[0]).toContain('other launchers are unknown')
    const late = await startRedis({ port })
    closers.push(() => late.stop())
    await waitFor(async () => (await app.inject('/-/readyz')).statusCode === 200)
  })

  it('answers readyz, status and close in bounded time while Redis hangs', async () => {
    name++
    const proxy = await faultProxy({ target: redis.url })
    closers.push(() => proxy.stop())
    const app = await start({ redis: proxy.url, commandTimeout: 100 })
    app.cluster.singleton('job', () => undefined)
    proxy.freeze()
    const began = performance.now()
    expect((await app.inject('/-/readyz')).statusCode).toBe(503)
    expect(await app.cluster.status()).toHaveLength(1)
    await app.close()
    await app.close()
    expect(performance.now() - began).toBeLessThan(5_000)
  })

  it('takes the client of @fastify/redis with true, and never closes what it was given', async () => {
    name++
    const client = new Redis(redis.url, { keyPrefix: 'mine:' })
    closers.push(() => client.disconnect())
    const app = Fastify()
    await app.register(fp(async (one: FastifyInstance) => void one.decorate('redis', client as never)))
    await app.register(scaleCluster, { redis: true, name: `test-${name}` })
    const handle = app.cluster.singleton('job', () => undefined)
    await app.ready()
    await waitFor(() => handle.running)
    expect(await client.exists(`{fastify-scale:cluster:1:test-${name}}:lease:job`)).toBe(1)
    await app.close()
    expect(client.status).toBe('ready')
  })

  it.each([{ redis: 7 }, { redis: 'http://x' }, { redis: true }, { redis: null }])('refuses %j', async (options) => {
    const app = Fastify()
    closers.push(() => app.close())
    await expect(app.register(scaleCluster, options as never)).rejects.toMatchObject({
      code: expect.stringMatching(/^SCALE_(CLUSTER_OPTION|KIT_NO_REDIS)$/),
    })
  })

  it('a registration that follows brings its redis to the first one', async () => {
    name++
    const app = Fastify()
    closers.push(() => app.close())
    await app.register(scaleCluster)
    await app.register(scaleCluster, { redis: redis.url, name: `test-${name}` })
    const handle = app.cluster.singleton('job', () => undefined)
    await app.ready()
    const other = await start()
    const second = other.cluster.singleton('job', () => undefined)
    await waitFor(() => handle.running)
    await app.close()
    await waitFor(() => second.running)
  })
})
