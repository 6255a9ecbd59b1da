import { type RedisCluster, startRedisCluster, waitFor } from '@fastify-scale/dev-services'
import { pause } from '@fastify-scale/kit'
import { Cluster } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ServerProcess, startBalancer, startProcess } from './processes.ts'
import { collect, connect, onEnd, publish, startApp } from './support.ts'

const MESSAGES = process.env['SOAK'] ? 10_000 : 1_500
const CLIENTS = process.env['SOAK'] ? 20 : 10

describe.each(['redis-sharded', 'redis'] as const)('on a Redis Cluster, with adapter %s', (adapter) => {
  let cluster: RedisCluster
  beforeAll(async () => {
    cluster = await startRedisCluster()
  })
  afterAll(() => cluster.stop())

  const rooms = { 'board:*': { history: 20_000, ttl: '5m' } }
  const options = { adapter, rooms, publishTimeout: '20s', presenceTtl: '3s' }
  const nodes = () => cluster.nodes.map(({ host, port }) => ({ host, port }))

  function start() {
    const client = new Cluster(nodes())
    onEnd(() => client.disconnect())
    return startApp({ redis: client, ...options })
  }

  it('broadcasts, questions to all processes, presence and history cross the masters', async () => {
    const [one, two] = await Promise.all([start(), start()])
    const clients = await Promise.all([connect(one.url), connect(two.url)])
    const got = clients.map((client) => collect<string>(client, 'text'))
    // Rooms of every master.
    const names = Array.from({ length: 12 }, (_, n) => [`plain:${n}`, `board:${n}`]).flat()
    await Promise.all(clients.flatMap((client) => names.map((name) => client.join(name))))
    await waitFor(async () => (await one.app.io.fetchSockets()).length === 2)
    // A subscription of the sharded adapter stands when its server says so, which nobody tells us.
    await waitFor(async () => {
      await Promise.all(names.map((name) => publish(one.app, name, 'text', name)))
      return got.every((list) => names.every((name) => list.includes(name)))
    })
    expect(await one.app.realtime.presence('board:3')).toHaveLength(2)
  })

  // Rooms with history do not go through the adapter: with one of them is enough for every day.
  it.runIf(adapter === 'redis-sharded' || process.env['SOAK'])(
    'loses, repeats and reorders nothing while processes are replaced',
    { timeout: 120_000 },
    async () => {
      const { app } = await start()
      const balancer = await startBalancer()
      const launch = () => startProcess({ cluster: nodes(), options })
      const pair: ServerProcess[] = await Promise.all([launch(), launch()])
      const route = (): void => balancer.set(pair.map(({ port }) => port))
      route()
      const all = await Promise.all(
        Array.from({ length: CLIENTS }, async (_, i) => {
          const client = await connect(balancer.url)
          // Three rooms, on the three masters as it may be.
          const room = `board:${i % 3}`
          const got = collect<number>(client, 'n')
          let resyncs = 0
          client.onResync(() => resyncs++)
          await client.join(room)
          return { got, resyncs: () => resyncs }
        }),
      )
      let over = false
      const trouble = (async () => {
        for (const end of [
          async (old: ServerProcess) => (old.tell({ type: 'drain' }), old.exited),
          async (old: ServerProcess) => old.kill('SIGKILL'),
        ]) {
          for (const i of [0, 1]) {
            const old = pair[i] as ServerProcess
            pair[i] = await launch()
            route()
            await end(old)
          }
        }
        over = true
      })()
      const publishing: Promise<unknown>[] = []
      let n = 0
      while (n < MESSAGES || !over) {
        n++
        for (const room of [0, 1, 2]) publishing.push(publish(app, `board:${room}`, 'n', n))
        if (n % 5 === 0) await pause(10)
      }
      await Promise.all([trouble, ...publishing])
      await waitFor(() => all.every(({ got }) => got.length >= n), { timeout: 30_000 }).catch(() => undefined)
      const expected = Array.from({ length: n }, (_, i) => i + 1)
      for (const { got, resyncs } of all) {
        expect(got).toEqual(expected)
        expect(resyncs()).toBe(0)
      }
    },
  )
})
