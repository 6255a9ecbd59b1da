import { type RedisServer, faultProxy, startRedis, startRedisCluster, waitFor } from '@fastify-scale/dev-services'
import { Cluster, Redis } from 'ioredis'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  type Connections,
  type FollowOptions,
  type StreamFollower,
  followStream,
  openConnections,
} from '../src/index.ts'

const log = { debug() {}, info() {}, warn() {} }
let server: RedisServer
let writer: Redis
let connections: Connections
let follower: StreamFollower | undefined
let seen: string[]
let resets: number

beforeEach(async () => {
  server = await startRedis()
  writer = new Redis(server.url)
  writer.on('error', () => undefined)
  connections = await openConnections({ packageName: '@fastify-scale/kit', redis: server.url, host: {}, log })
  seen = []
  resets = 0
})
afterEach(async () => {
  await follower?.close()
  follower = undefined
  await connections.close()
  writer.disconnect()
  await server.stop()
})

function follow(options: Partial<FollowOptions> = {}): StreamFollower {
  follower = followStream({
    client: connections.follower(),
    key: 's',
    load: () => '0-0',
    onEntry: ({ fields }) => seen.push(fields['n'] as string),
    onDiscontinuity: () => resets++,
    blockMs: 100,
    graceMs: 300,
    ...options,
  })
  return follower
}

const add = (n: number | string, id = '*') => writer.xadd('s', id, 'n', n)
const has = (n: number | string) => waitFor(() => seen.includes(String(n)), { timeout: 10_000 })
const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => String(from + i))

test('pages in what is there, then follows in order', async () => {
  const pipeline = writer.pipeline()
  for (let n = 1; n <= 2_500; n++) pipeline.xadd('s', '*', 'n', n)
  await pipeline.exec()
  const stream = follow()
  await stream.caughtUp
  expect(seen).toEqual(numbers(1, 2_500))
  for (let n = 2_501; n <= 2_550; n++) await add(n)
  await has(2_550)
  expect(seen).toEqual(numbers(1, 2_550))
  expect(resets).toBe(0)
})

test('starts after the position that a snapshot was taken at', async () => {
  await add(1)
  const at = (await add(2)) as string
  await add(3)
  await follow({ load: () => at }).caughtUp
  expect(seen).toEqual(['3'])
})

test('loses nothing when its connection is killed again and again', async () => {
  await follow().caughtUp
  for (let n = 1; n <= 300; n++) {
    await add(n)
    if (n % 20 === 0) await writer.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  }
  await has(300)
  expect(seen).toEqual(numbers(1, 300))
})

test('a stream made anew with lower ids is noticed, while connected and idle', async () => {
  await add('old', '5000000000000-0')
  await follow().caughtUp
  await writer.del('s')
  await add('new', '1-1')
  await has('new')
  expect(resets).toBe(1)
  await add('after')
  await has('after')
  expect(seen).toEqual(['old', 'new', 'after'])
})

test('a stream made anew while a read of the old one waits is noticed, whatever its new ids are', async () => {
  await add('old')
  await follow().caughtUp
  await writer.multi().del('s').xadd('s', '*', 'n', 'new').exec()
  await has('new')
  await waitFor(() => resets === 1)
  expect(seen.at(-1)).toBe('new')
})

test('a stream made anew with the very same ids is noticed, by what its entries hold', async () => {
  await add('old', '5-1')
  await follow().caughtUp
  await writer.multi().del('s').xadd('s', '5-1', 'n', 'new').exec()
  await has('new')
  expect(seen).toEqual(['old', 'new'])
  expect(resets).toBe(1)
})

test('entries that were trimmed between two reads of a slow connection are a discontinuity', async () => {
  const proxy = await faultProxy({ target: server.url })
  const through = await openConnections({ packageName: '@fastify-scale/kit', redis: proxy.url, host: {}, log })
  try {
    await add(0)
    await follow({ client: through.follower(), blockMs: 1_000, graceMs: 1_000 }).caughtUp
    // The read that waits is answered with the first; when the next one comes, most of the others are gone.
    proxy.latency(50)
    const burst = writer.pipeline()
    for (let n = 1; n <= 100; n++) burst.xadd('s', 'MAXLEN', 10, '*', 'n', n)
    await burst.exec()
    await has(100)
    expect(seen).not.toContain('50')
    await waitFor(() => resets === 1)
  } finally {
    await through.close()
    await proxy.stop()
  }
})

test('a stream made anew while Redis restarted empty is noticed', async () => {
  await add('old', '5000000000000-0')
  await follow().caughtUp
  await server.kill()
  await server.restart()
  await waitFor(() => writer.status === 'ready', { timeout: 10_000 })
  await add('new', '2-1')
  await has('new')
  expect(resets).toBe(1)
  expect(seen).toEqual(['old', 'new'])
})

test('entries trimmed while it was away are a discontinuity, not silence', async () => {
  await add('a')
  const loads: number[] = []
  await follow({
    load: () => {
      loads.push(seen.length)
      return '0-0'
    },
  }).caughtUp
  server.freeze()
  await waitFor(() => (follower as StreamFollower).staleness() > 600, { timeout: 10_000 })
  // The follower has given its connection up; these run before it can be back.
  const adds = [add('lost'), add('kept'), writer.xtrim('s', 'MAXLEN', 1)]
  server.thaw()
  await Promise.all(adds)
  await has('kept')
  expect(resets + seen.filter((n) => n === 'lost').length).toBeGreaterThan(0)
})

test('a stalled server shows in the staleness, and its return ends it', async () => {
  const stream = follow()
  await stream.caughtUp
  await waitFor(() => stream.staleness() < 400, { timeout: 5_000 })
  server.freeze()
  await waitFor(() => stream.staleness() > 1_500, { timeout: 10_000 })
  server.thaw()
  await add('back')
  await has('back')
  await waitFor(() => stream.staleness() < 400, { timeout: 5_000 })
})

test('a Redis that is away at the start is waited for', async () => {
  await server.kill()
  const stream = follow()
  expect(stream.staleness()).toBe(Number.POSITIVE_INFINITY)
  await server.restart()
  await stream.caughtUp
  await waitFor(() => writer.status === 'ready', { timeout: 10_000 })
  await add(1)
  await has(1)
})

test('an entry that its reader cannot bear does not stop the next, a load that fails is tried again', async () => {
  const errors: string[] = []
  let loads = 0
  await follow({
    load: () => {
      if (++loads === 1) throw new Error('snapshot failed')
      return '0-0'
    },
    onEntry: ({ fields }) => {
      if (fields['n'] === 'bad') throw new Error('bad entry')
      seen.push(fields['n'] as string)
    },
    onError: (error) => errors.push(error.message),
  }).caughtUp
  await add('bad')
  await add('good')
  await has('good')
  expect(errors).toEqual(['snapshot failed', 'bad entry'])
})

test('close ends it at once, twice, and in the middle of a stall', async () => {
  const stream = follow()
  await stream.caughtUp
  server.freeze()
  const start = performance.now()
  await stream.close()
  await stream.close()
  expect(performance.now() - start).toBeLessThan(1_000)
  server.thaw()
})

test('a peer that vanished without a word is given up, and another connection made', async () => {
  let vanished = false
  const proxy = await faultProxy({
    target: server.url,
    intercept: ({ connection }) => (vanished && connection === 1 ? 'hang' : undefined),
  })
  const through = await openConnections({ packageName: '@fastify-scale/kit', redis: proxy.url, host: {}, log })
  try {
    const stream = follow({ client: through.follower() })
    await stream.caughtUp
    await add(1)
    await has(1)
    vanished = true
    await add(2)
    let stalest = 0
    await waitFor(() => {
      stalest = Math.max(stalest, stream.staleness())
      return seen.includes('2')
    })
    expect(seen).toEqual(['1', '2'])
    // blockMs, graceMs and a new connection: the dead one is not waited for.
    expect(stalest).toBeLessThan(1_500)
  } finally {
    await through.close()
    await proxy.stop()
  }
})

test('on a Redis Cluster it follows the node that has the key, and survives the loss of its connections', async () => {
  const cluster = await startRedisCluster()
  const client = new Cluster(cluster.urls.slice(0, 1) as string[])
  const clustered = await openConnections({ packageName: '@fastify-scale/kit', redis: client, host: {}, log })
  try {
    expect(clustered.cluster).toBe(true)
    const command = await clustered.command({ timeout: 2_000 })
    await follow({ client: clustered.follower() }).caughtUp
    for (let n = 1; n <= 60; n++) {
      await command.xadd('s', '*', 'n', n)
      if (n % 20 !== 0) continue
      for (const node of client.nodes('master'))
        await node.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes').catch(() => undefined)
      // The writer was cut off as well.
      await waitFor(() => command.xlen('s').then(Boolean, () => false), { timeout: 10_000 })
    }
    await has(60)
    expect(seen).toEqual(numbers(1, 60))
  } finally {
    await clustered.close()
    client.disconnect()
    await cluster.stop()
  }
})
