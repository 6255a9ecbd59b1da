import {
  type RedisCluster,
  type RedisServer,
  startRedis,
  startRedisCluster,
  waitFor,
} from '@fastify-scale/dev-services'
import type { FastifyInstance } from 'fastify'
import { Cluster } from 'ioredis'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type ScaleCacheOptions, hitChannel } from '../src/index.ts'
import { runChecker } from './checker.ts'
import { appWith, uniquePrefix } from './support.ts'

let servers: RedisCluster
let client: Cluster
const open: FastifyInstance[] = []

beforeAll(async () => {
  servers = await startRedisCluster()
  client = new Cluster(servers.nodes.map(({ host, port }) => ({ host, port })))
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((app) => app.close()))
})
afterAll(async () => {
  client.disconnect()
  await servers.stop()
})

async function start(options: ScaleCacheOptions = {}): Promise<FastifyInstance> {
  const app = await appWith({ redis: client, prefix: uniquePrefix(), ...options })
  open.push(app)
  return app
}

const keys = Array.from({ length: 60 }, (_, i) => `key-${i}`)

test('values, deletes, tags, namespaces and clear, with keys on all three masters', async () => {
  const prefix = uniquePrefix()
  const [one, two] = [await start({ prefix }), await start({ prefix })]
  let version = 1
  const read = (app: FastifyInstance): Promise<number[]> =>
    Promise.all(keys.map((key, i) => app.cache.getOrSet(key, () => version, { tags: [`t${i % 6}`] })))
  for (let i = 0; i < 3; i++) expect(new Set(await read(one))).toEqual(new Set([1]))
  for (let i = 0; i < 3; i++) expect(new Set(await read(two))).toEqual(new Set([1]))
  const held = await Promise.all(client.nodes('master').map((node) => node.keys(`${prefix}:1:v:*`)))
  expect(held.every((on) => on.length > 5)).toBe(true)

  version = 2
  await one.cache.invalidateTags('t0')
  expect((await read(two)).map((value, i) => value === (i % 6 === 0 ? 2 : 1))).not.toContain(false)
  version = 3
  await one.cache.delete(keys.slice(0, 30))
  expect((await read(two)).slice(0, 30)).toEqual(Array.from({ length: 30 }, () => 3))
  version = 4
  await two.cache.clear()
  expect(new Set(await read(one))).toEqual(new Set([4]))

  const inside = one.cache.namespace('n')
  await Promise.all(keys.map((key) => inside.set(key, key)))
  expect(await two.cache.namespace('n').get('key-7')).toBe('key-7')
  await inside.clear()
  expect(await two.cache.namespace('n').get('key-7')).toBeUndefined()
  expect(await two.cache.get('key-7')).toBe(4)
})

test('many callers make one load', async () => {
  const prefix = uniquePrefix()
  const apps = [await start({ prefix }), await start({ prefix }), await start({ prefix })]
  let loads = 0
  const answers = await Promise.all(
    apps.flatMap((app) =>
      Array.from({ length: 20 }, () =>
        app.cache.getOrSet('k', async () => {
          await new Promise((resolve) => setTimeout(resolve, 50))
          return ++loads
        }),
      ),
    ),
  )
  expect(new Set(answers)).toEqual(new Set([1]))
})

test('memory is followed on every master', async () => {
  const prefix = uniquePrefix()
  const [one, two] = [await start({ prefix }), await start({ prefix, l1: { settle: 50 } })]
  const remembered = new Set<string>()
  const stop = hitChannel.subscribe(({ key, level }) => {
    if (level === 'l1') remembered.add(key)
  })
  await waitFor(async () => {
    for (const key of keys) await one.cache.getOrSet(key, () => 'old')
    return remembered.size === keys.length
  })
  stop()
  for (const key of keys) {
    await two.cache.delete(key)
    expect(await one.cache.getOrSet(key, () => 'new')).toBe('new')
  }
})

test('the randomised checker', { timeout: 600_000 }, async () => {
  const truth: RedisServer = await startRedis()
  const seed = Number(process.env.SEED ?? 4_711)
  const nodes = servers.nodes.map(({ host, port }) => ({ host, port }))
  const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
  try {
    const result = await runChecker({
      redis: '',
      cluster: nodes,
      truth: truth.url,
      prefix: uniquePrefix(),
      seed,
      processes: 3,
      reads: process.env.SOAK ? 50_000 : 3_000,
      keys: 40,
      tags: 10,
      chaos: async () => {
        await pause(400)
        for (const node of client.nodes('master')) await node.call('CLIENT', 'KILL', 'TYPE', 'pubsub', 'SKIPME', 'yes')
      },
    })
    expect({ seed, stale: result.stale.slice(0, 5) }).toEqual({ seed, stale: [] })
    expect(result.reads).toBeGreaterThan(2_900)
  } finally {
    await truth.stop()
  }
})

test('one master frozen: calls are answered within their bound, also for its keys', async () => {
  const app = await start({ commandTimeout: 100 })
  const node = servers.nodes[1] as RedisServer
  await Promise.all(keys.map((key) => app.cache.getOrSet(key, () => 1)))
  node.freeze()
  try {
    const took = await Promise.all(
      keys.map(async (key) => {
        const before = performance.now()
        expect(await app.cache.getOrSet(key, () => 1)).toBe(1)
        return performance.now() - before
      }),
    )
    expect(Math.max(...took)).toBeLessThan(1_500)
  } finally {
    node.thaw()
  }
  await waitFor(async () => {
    await Promise.all(keys.map((key) => app.cache.set(key, 2)))
    return (await Promise.all(keys.map((key) => app.cache.get(key)))).every((value) => value === 2)
  })
})
