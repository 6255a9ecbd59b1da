import { type RedisCluster, startRedisCluster, waitFor } from '@fastify-scale/dev-services'
import { pause } from '@fastify-scale/kit'
import { Cluster, Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { roomKey } from '../src/keys.ts'
import { type TestApp, collect, connect, onEnd, publish, startApp } from './support.ts'
import {
  NO_FAULTS,
  faultsOf,
  notRising,
  publishDuring,
  replacements,
  startPair,
  startWitnesses,
  upTo,
} from './traffic.ts'

/** SOAK=1: the full figures. */
const PACE = process.env['SOAK'] ? { least: 10_000, rate: 250 } : { least: 1_500, rate: 250 }
const CLIENTS = 20

const rooms = { 'board:*': { history: 20_000, ttl: '5m' } }
const nodesOf = (cluster: RedisCluster) => cluster.nodes.map(({ host, port }) => ({ host, port }))

function start(cluster: RedisCluster, options: object): Promise<TestApp> {
  const client = new Cluster(nodesOf(cluster))
  onEnd(() => client.disconnect())
  return startApp({ redis: client, ...options })
}

describe.each(['redis-sharded', 'redis'] as const)('on a Redis Cluster, with adapter %s', (adapter) => {
  let cluster: RedisCluster
  beforeAll(async () => {
    cluster = await startRedisCluster()
  })
  afterAll(() => cluster.stop())

  it('broadcasts, questions to all processes, presence and history cross the masters', async () => {
    const options = { adapter, rooms, presenceTtl: '3s' }
    const [one, two] = await Promise.all([start(cluster, options), start(cluster, options)])
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
})

/** A room with history on each master, in the order of the nodes. */
async function roomOfEachMaster(cluster: RedisCluster): Promise<string[]> {
  const client = new Redis(cluster.urls[0] as string)
  const found: string[] = []
  const slots = 16_384 / cluster.nodes.length
  for (let n = 0; found.filter(Boolean).length < cluster.nodes.length; n++) {
    const slot = (await client.cluster('KEYSLOT', roomKey('', `board:${n}`, 'log'))) as number
    found[Math.floor(slot / slots)] ??= `board:${n}`
  }
  client.disconnect()
  return found
}

describe.each([
  // Rooms with history do not go through the adapter: with one of them is enough for every day.
  { adapter: 'redis-sharded' },
  ...(process.env['SOAK'] ? [{ adapter: 'redis' }] : []),
])('over trouble of processes and masters, with adapter $adapter', ({ adapter }) => {
  const options = { adapter, rooms, publishTimeout: '20s' }

  async function setUp(args: string[]) {
    const cluster = await startRedisCluster({ args })
    onEnd(() => cluster.stop())
    const names = await roomOfEachMaster(cluster)
    const pair = await startPair({ cluster: nodesOf(cluster), options })
    const { app } = await start(cluster, options)
    const all = await startWitnesses(pair.balancer.url, CLIENTS, names)
    /** In turn to the room of each master; to the plain one always. */
    const publishOne = (n: number): Promise<unknown> => {
      const room = names[n % names.length] as string
      return Promise.all([publish(app, room, room, n), publish(app, 'plain', 'plain', n)])
    }
    const of = (room: string, count: number): number[] =>
      upTo(count).filter((n) => n % names.length === names.indexOf(room))
    return { cluster, names, pair, all, publishOne, of }
  }

  it('nothing is lost, repeated or reordered: reload, exit, SIGKILL, a frozen master, a killed one', {
    timeout: 300_000,
  }, async () => {
    // Masters that keep their data over a kill.
    const { cluster, names, pair, all, publishOne, of } = await setUp([
      '--appendonly',
      'yes',
      '--appendfsync',
      'always',
    ])
    const [frozen, killed] = cluster.nodes as [(typeof cluster.nodes)[0], (typeof cluster.nodes)[0]]
    const count = await publishDuring(PACE, publishOne, [
      ...replacements(pair),
      async () => {
        frozen.freeze()
        await pause(5_000)
        frozen.thaw()
      },
      async () => {
        await killed.kill()
        await pause(1_000)
        await killed.restart()
      },
    ])
    await waitFor(
      () => all.every(({ history }) => names.every((name) => history[name]?.length === of(name, count).length)),
      {
        timeout: 30_000,
      },
    ).catch(() => undefined)
    for (const { history, resyncs } of all) {
      for (const name of names) expect(faultsOf(history[name] as number[], of(name, count)), name).toEqual(NO_FAULTS)
      expect(resyncs).toEqual(Object.fromEntries(names.map((name) => [name, 0])))
    }
    const lost = all.reduce((sum, { plain }) => sum + count - new Set(plain).size, 0)
    if (process.env['SOAK'])
      process.stdout.write(
        `${adapter}: of ${count} messages: plain room: ${lost} of ${count * CLIENTS} deliveries lost; history: 0\n`,
      )
  })

  it('a master that comes back empty is one resync for its rooms, and nothing for the others', {
    timeout: 180_000,
  }, async () => {
    const { cluster, names, all, publishOne, of } = await setUp([])
    const [, killed] = cluster.nodes as [unknown, (typeof cluster.nodes)[0]]
    const count = await publishDuring(PACE, publishOne, [
      async () => {
        await killed.kill()
        await pause(1_000)
        await killed.restart()
      },
    ])
    const lastOf = (name: string): number => of(name, count).at(-1) as number
    await waitFor(() => all.every(({ history }) => names.every((name) => history[name]?.at(-1) === lastOf(name))), {
      timeout: 30_000,
    })
    for (const { history, resyncs } of all) {
      expect(resyncs).toEqual(Object.fromEntries(names.map((name, i) => [name, i === 1 ? 1 : 0])))
      for (const [i, name] of names.entries()) {
        if (i === 1) expect(notRising(history[name] as number[])).toEqual([])
        else expect(faultsOf(history[name] as number[], of(name, count))).toEqual(NO_FAULTS)
      }
    }
  })
})
