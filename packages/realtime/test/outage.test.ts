import { faultProxy, freePort, startRedis, waitFor } from '@fastify-scale/dev-services'
import { pause, runReadinessChecks } from '@fastify-scale/kit'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { type ServerProcess, startProcess } from './processes.ts'
import { type TestClient, collect, connect, onEnd, publish, startApp, useRedis } from './support.ts'

/** SOAK=1: the full figures. */
const AWAY = process.env['SOAK'] ? 100_000 : 8_000
/** Fewer wait in the shorter run, so that the bound is reached as well. */
const options = { channel: 'outage', rooms: { room: { history: 100 } }, limits: { pendingPublishes: 1_000 } }

async function memory({ url }: ServerProcess): Promise<{ rss: number; dropped: number; connections: number }> {
  return (await (await fetch(`${url}/memory`)).json()) as never
}

describe('with Redis away', () => {
  it('no process dies under steady emits, clients leave meanwhile, and all is well afterwards', {
    timeout: AWAY + 120_000,
  }, async () => {
    const redis = await startRedis()
    onEnd(() => redis.stop())
    const [one, two] = (await Promise.all(
      [0, 1].map(() => startProcess({ redis: redis.url, options, execArgv: ['--expose-gc'] })),
    )) as [ServerProcess, ServerProcess]
    const [a, b, ...leaving] = (await Promise.all([one, two, one, one, two].map(({ url }) => connect(url)))) as [
      TestClient,
      TestClient,
      ...TestClient[],
    ]
    const [gotA, gotB] = [collect<string>(a, 'tick'), collect<string>(b, 'tick')]
    let gaps = 0
    b.onGap(() => gaps++)
    // Only one of them emits: what the other's clients get came through Redis.
    one.tell({ type: 'emit', every: 5, bytes: 1_000 })
    await waitFor(() => gotB.length > 20)
    const before = await memory(one)
    await redis.kill()
    const seen = gotA.length
    for (const client of leaving) {
      await pause(AWAY / (leaving.length + 1))
      client.disconnect()
    }
    await pause(AWAY / (leaving.length + 1))
    // The process's own clients were served all the time.
    expect(gotA.length - seen).toBeGreaterThan(AWAY / 5 / 4)
    // Emits come by a timer, and a busy machine makes fewer of them.
    await waitFor(async () => (await memory(one)).dropped > 0, { timeout: 60_000 })
    const during = await memory(one)
    expect(during.rss - before.rss).toBeLessThan(100 * 1_024 * 1_024)
    expect([one.child.exitCode, two.child.exitCode]).toEqual([null, null])
    await redis.restart()
    const had = gotB.length
    await waitFor(() => gotB.length > had + 20, { timeout: 15_000 })
    await waitFor(() => gaps === 1)
    expect(one.errors() + two.errors()).toBe('')
    for (const process of [one, two]) process.tell({ type: 'close' })
    expect(await Promise.all([one.exited, two.exited])).toEqual([0, 0])
  })

  it('a process starts, serves its own clients, says that it is not ready, and joins the others when it is back', {
    timeout: 60_000,
  }, async () => {
    const port = await freePort()
    const { app, url } = await startApp({ ...options, redis: `redis://127.0.0.1:${port}` })
    const { ready, checks } = await runReadinessChecks(app)
    expect([ready, checks.find(({ name }) => name === 'realtime: redis')?.ok]).toEqual([false, false])
    const client = await connect(url)
    const got = collect<number>(client, 'n')
    await client.join('plain')
    await publish(app, 'plain', 'n', 1)
    await waitFor(() => got.length === 1)
    await expect(app.realtime.presence('room')).rejects.toMatchObject({ code: 'SCALE_REALTIME_UNAVAILABLE' })
    // The join waits until it can be kept.
    const joined = client.join('room')
    const redis = await startRedis({ port })
    onEnd(() => redis.stop())
    await joined
    await waitFor(async () => (await runReadinessChecks(app)).ready)
    const other = await startApp({ ...options, redis: redis.url })
    await publish(other.app, 'room', 'n', 2)
    await waitFor(() => got.length === 2)
    await waitFor(async () => {
      await publish(other.app, 'plain', 'n', 3)
      return got.includes(3)
    })
  })

  it('a peer that vanished without a word is noticed', { timeout: 60_000 }, async () => {
    const redis = await startRedis()
    onEnd(() => redis.stop())
    const proxy = await faultProxy({ target: redis.url })
    onEnd(() => proxy.stop())
    const behind = await startApp({ ...options, redis: proxy.url })
    const other = await startApp({ ...options, redis: redis.url })
    const client = await connect(behind.url)
    const got = collect<number>(client, 'n')
    await client.join('room')
    await publish(other.app, 'room', 'n', 1)
    await waitFor(() => got.length === 1)
    // Connections stay open and nothing comes any more, until they are made anew.
    let broken = proxy.connections
    proxy.intercept = ({ connection }) => (connection <= broken ? 'hang' : undefined)
    broken = 1_000
    await publish(other.app, 'room', 'n', 2)
    await pause(1_000)
    expect(got).toEqual([1])
    broken = 0
    proxy.intercept = undefined
    await waitFor(() => got.length === 2, { timeout: 45_000 })
  })
})

describe('whatever fastify.redis does', () => {
  const redis = useRedis()

  it('works with one that queues nothing, maps replies and has a prefix', async () => {
    const client = new Redis(redis.url, {
      enableOfflineQueue: false,
      replyMapping: 'resp3' as never,
      keyPrefix: 'shop:',
      commandTimeout: 50,
      maxRetriesPerRequest: 0,
      autoResubscribe: false,
    })
    onEnd(() => client.disconnect())
    const [one, two] = (await Promise.all(
      [0, 1].map(() =>
        startApp(
          { rooms: { room: { history: 5 } } },
          { before: (app) => app.decorate('redis' as never, client as never) },
        ),
      ),
    )) as [Awaited<ReturnType<typeof startApp>>, Awaited<ReturnType<typeof startApp>>]
    const there = await connect(two.url)
    const got = collect<number>(there, 'n')
    await Promise.all([there.join('room'), there.join('plain')])
    await publish(one.app, 'room', 'n', 1)
    await publish(one.app, 'plain', 'n', 2)
    await waitFor(() => got.length === 2)
    expect(await one.app.io.fetchSockets()).toHaveLength(1)
    const keys = await client.call('KEYS', '*')
    expect((keys as string[]).every((key) => key.startsWith('shop:fastify-scale:realtime:v1:{room}:'))).toBe(true)
    await Promise.all([one.app.close(), two.app.close()])
    // What was given is not closed.
    expect(await client.ping()).toBe('PONG')
  })
})
