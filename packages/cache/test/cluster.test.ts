import { type RedisCluster, type RedisServer, startRedisCluster, waitFor } from '@fastify-scale/dev-services'
import type { FastifyInstance } from 'fastify'
import { Cluster } from 'ioredis'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type ScaleCacheOptions, breakerChannel, hitChannel } from '../src/index.ts'
import { slotOf } from '../src/slot.ts'
import { appWith, uniquePrefix } from './support.ts'

let servers: RedisCluster
let client: Cluster
const open: FastifyInstance[] = []

beforeAll(async () => {
  servers = await startRedisCluster({ args: ['--cluster-require-full-coverage', 'no'] })
  client = new Cluster(servers.nodes.map(({ host, port }) => ({ host, port })))
  client.on('error', () => undefined)
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

test('routes are stored on every master, found by every process, and invalidated', async () => {
  const prefix = uniquePrefix()
  let version = 1
  const setup = (app: FastifyInstance): void => {
    app.get('/:id', { config: { cache: { ttl: '60s', vary: 'x-market' } } }, (request) => `${request.url} ${version}`)
    app.put('/:id', () => 'done')
  }
  const make = async (): Promise<FastifyInstance> => {
    const app = await appWith({ redis: client, prefix }, setup)
    open.push(app)
    return app
  }
  const [one, two] = [await make(), await make()]
  const urls = Array.from({ length: 20 }, (_, i) => `/${i}`)
  const ask = (app: FastifyInstance): Promise<string[]> =>
    Promise.all(urls.map(async (url) => (await app.inject({ url, headers: { 'x-market': 'se' } })).body))
  const old = urls.map((url) => `${url} 1`)
  expect(await ask(one)).toEqual(old)
  version = 2
  await waitFor(async () => (await ask(two)).join() === old.join() && (await ask(one)).join() === old.join())
  const held = await Promise.all(client.nodes('master').map((node) => node.keys(`${prefix}:1:v:*`)))
  expect(held.every((on) => on.length > 0)).toBe(true)
  await Promise.all(urls.map((url) => one.inject({ method: 'PUT', url })))
  expect(await ask(two)).toEqual(urls.map((url) => `${url} 2`))
})

test.each([0, 1, 2])(
  'master %i frozen: the keys of the others are cached as before, its own are loaded',
  async (index) => {
    const prefix = uniquePrefix()
    const [one, two] = [await start({ prefix, commandTimeout: 100 }), await start({ prefix, commandTimeout: 100 })]
    const frozen = servers.nodes[index] as RedisServer
    const name = `${frozen.host}:${frozen.port}`
    const isIts = (key: string): boolean => client.slots[slotOf(`{:${key}}`)]?.[0] === name
    const [its, others] = [keys.filter(isIts), keys.filter((key) => !isIts(key))]
    await Promise.all(keys.map((key) => one.cache.getOrSet(key, () => 'cached')))
    const opened: string[] = []
    const stop = breakerChannel.subscribe(({ open, master }) => void (open && opened.push(master)))
    frozen.freeze()
    try {
      const took: number[] = []
      let loads = 0
      const read = async (app: FastifyInstance, key: string): Promise<string> => {
        const before = performance.now()
        const value = await app.cache.getOrSet(key, () => `loaded ${++loads}`)
        took.push(performance.now() - before)
        return value
      }
      // From the first moment on, and when the breaker is open.
      for (const when of ['before', 'after']) {
        expect(new Set(await Promise.all(others.map((key) => read(one, key)))), when).toEqual(new Set(['cached']))
        expect(loads).toBe(0)
        const loaded = await Promise.all(its.map((key) => read(one, key)))
        expect(loaded.every((value) => value.startsWith('loaded'))).toBe(true)
        expect(loads).toBe(its.length)
        loads = 0
        await waitFor(() => opened.includes(name))
      }
      // What is new is stored, and what is deleted is gone, for every process.
      for (const key of others.slice(0, 5)) {
        await one.cache.delete(key)
        expect(await two.cache.getOrSet(key, () => 'new')).toBe('new')
        expect(await one.cache.getOrSet(key, () => 'other')).toBe('new')
      }
      expect(Math.max(...took)).toBeLessThan(1_500)
      expect(new Set(opened)).toEqual(new Set([name]))
      // What can't be carried out everywhere is not acknowledged.
      await expect(one.cache.delete(its)).rejects.toMatchObject({ code: 'SCALE_CACHE_UNAVAILABLE' })
      await expect(one.cache.clear()).rejects.toMatchObject({ code: 'SCALE_CACHE_UNAVAILABLE' })
    } finally {
      frozen.thaw()
      stop()
    }
    await waitFor(async () => {
      await Promise.all(keys.map((key) => one.cache.set(key, 2)))
      return (await Promise.all(keys.map((key) => two.cache.get(key)))).every((value) => value === 2)
    })
    await one.cache.clear()
    expect((await Promise.all(keys.map((key) => two.cache.get(key)))).every((value) => value === undefined)).toBe(true)
  },
)

test('a copy of the clock and of the epoch is on each of three masters', async () => {
  const prefix = uniquePrefix()
  const app = await start({ prefix })
  await app.cache.clear()
  for (const kind of ['c', 'e']) {
    const held = await Promise.all(client.nodes('master').map((node) => node.keys(`${prefix}:1:${kind}:*`)))
    expect(held.map((on) => on.length)).toEqual([1, 1, 1])
  }
})
