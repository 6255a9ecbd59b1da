import { waitFor } from '@fastify-scale/dev-services'
import type { FastifyInstance } from 'fastify'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { ScaleCacheOptions } from '../src/index.ts'
import { KINDS, type Servers, startServers } from './servers.ts'
import { appWith, uniquePrefix } from './support.ts'

/** Something to load from, whose first load has read its value and is held until `finish()`. */
function heldSource(): { value: string; runs: number; load: () => Promise<string>; finish: () => void } {
  let finish!: () => void
  const held = new Promise<void>((resolve) => (finish = resolve))
  const source = {
    value: 'old',
    runs: 0,
    finish,
    async load() {
      const { value } = source
      if (++source.runs === 1) await held
      return value
    },
  }
  return source
}

describe.each(KINDS)('on %s', (serverKind) => {
  let servers: Servers
  /** A key of its own for each test: on a cluster they are spread over the masters. */
  let k: string
  let count = 0
  const open: FastifyInstance[] = []

  beforeAll(async () => {
    servers = await startServers(serverKind)
  })
  afterEach(async () => {
    await Promise.all(open.splice(0).map((app) => app.close()))
  })
  beforeEach(() => {
    k = `k${++count}`
  })
  afterAll(() => servers.stop())

  async function start(options: ScaleCacheOptions = {}): Promise<FastifyInstance> {
    const app = await appWith({ redis: servers.redis, prefix: uniquePrefix(), ...options })
    open.push(app)
    return app
  }

  describe.each([
    ['with process memory', {}],
    ['with Redis alone', { l1: false as const }],
  ])('%s', (_, kind: ScaleCacheOptions) => {
    test('a value is loaded once and then found', async () => {
      const { cache } = await start(kind)
      let loads = 0
      const load = (): { n: number } => ({ n: ++loads })
      for (let i = 0; i < 5; i++) expect(await cache.getOrSet('a', load)).toEqual({ n: 1 })
      expect(await cache.get('a')).toEqual({ n: 1 })
      expect(loads).toBe(1)
    })

    test('a deleted key is loaded again, in every process', async () => {
      const prefix = uniquePrefix()
      const [one, two] = [await start({ ...kind, prefix }), await start({ ...kind, prefix })]
      let version = 1
      const load = (): number => version
      for (let i = 0; i < 3; i++) expect(await two.cache.getOrSet(k, load)).toBe(1)
      version = 2
      await one.cache.delete(k)
      expect(await two.cache.getOrSet(k, load)).toBe(2)
      expect(await one.cache.getOrSet(k, load)).toBe(2)
    })

    test('a tag takes everything that carries it, and nothing else', async () => {
      const prefix = uniquePrefix()
      const [one, two] = [await start({ ...kind, prefix }), await start({ ...kind, prefix })]
      const loads: string[] = []
      const load = (key: string, tags: string[]): Promise<string> =>
        two.cache.getOrSet(
          key,
          () => {
            loads.push(key)
            return key
          },
          { tags },
        )
      for (let i = 0; i < 2; i++) await Promise.all([load('a', ['x', 'y']), load('b', ['y']), load('c', ['z'])])
      expect(loads.sort()).toEqual(['a', 'b', 'c'])
      await one.cache.invalidateTags('y')
      for (let i = 0; i < 2; i++) await Promise.all([load('a', ['x', 'y']), load('b', ['y']), load('c', ['z'])])
      expect(loads.sort()).toEqual(['a', 'a', 'b', 'b', 'c'])
    })

    test('a tag that the loader adds counts like one given before', async () => {
      const { cache } = await start(kind)
      let loads = 0
      const get = (): Promise<number> =>
        cache.getOrSet(k, ({ addTags }) => {
          addTags('late')
          return ++loads
        })
      await get()
      const before = loads
      expect(await get()).toBe(before)
      await cache.invalidateTags('late')
      expect(await get()).toBe(before + 1)
    })

    test('a delete voids the load in flight: its result is not stored, and not given to who asked after the delete', async () => {
      const { cache } = await start(kind)
      const source = heldSource()
      const { load } = source
      const first = cache.getOrSet(k, load)
      await waitFor(() => source.runs === 1)
      source.value = 'new'
      await cache.delete(k)
      const second = cache.getOrSet(k, load)
      source.finish()
      expect(await second).toBe('new')
      expect(await first).toBe('new')
      expect(await cache.get(k)).toBe('new')
    })

    test('an invalidated tag voids the load in flight', async () => {
      const { cache } = await start(kind)
      const source = heldSource()
      const { load } = source
      const first = cache.getOrSet(k, load, { tags: ['t'] })
      await waitFor(() => source.runs === 1)
      source.value = 'new'
      await cache.invalidateTags('t')
      const second = cache.getOrSet(k, load, { tags: ['t'] })
      source.finish()
      expect(await Promise.all([first, second])).toEqual(['new', 'new'])
      expect(await cache.getOrSet(k, load, { tags: ['t'] })).toBe('new')
    })

    test('many callers in one process make one load', async () => {
      const { cache } = await start(kind)
      let loads = 0
      const load = async (): Promise<number> => {
        await new Promise((resolve) => setTimeout(resolve, 50))
        return ++loads
      }
      const answers = await Promise.all(Array.from({ length: 50 }, () => cache.getOrSet(k, load)))
      expect(new Set(answers)).toEqual(new Set([1]))
    })

    test('set, and clear', async () => {
      const { cache } = await start(kind)
      await cache.set(k, { a: 1 }, { tags: 't' })
      expect(await cache.get(k)).toEqual({ a: 1 })
      expect(await cache.get(k)).toEqual({ a: 1 })
      await cache.invalidateTags('t')
      expect(await cache.get(k)).toBeUndefined()
      await cache.set(k, 2)
      await cache.clear()
      expect(await cache.get(k)).toBeUndefined()
      await cache.set(k, 3)
      expect(await cache.get(k)).toBe(3)
    })

    test('namespaces have keys and tags of their own and are cleared alone', async () => {
      const { cache } = await start(kind)
      const a = cache.namespace('a')
      const b = a.namespace('b')
      await Promise.all([cache.set(k, 0, { tags: 't' }), a.set(k, 1, { tags: 't' }), b.set(k, 2, { tags: 't' })])
      const all = (): Promise<unknown[]> => Promise.all([cache.get(k), a.get(k), b.get(k)])
      expect(await all()).toEqual([0, 1, 2])
      await b.invalidateTags('t')
      expect(await all()).toEqual([0, 1, undefined])
      await b.set(k, 3)
      await a.clear()
      expect(await all()).toEqual([0, undefined, undefined])
    })

    test('null and Buffers come back as they are', async () => {
      const { cache } = await start(kind)
      for (let i = 0; i < 3; i++) {
        expect(await cache.getOrSet('null', () => null)).toBeNull()
        const bytes = await cache.getOrSet('bytes', () => Buffer.from([0, 255, 1]))
        expect(bytes).toEqual(Buffer.from([0, 255, 1]))
        bytes.fill(7)
      }
    })

    test('stale while revalidating, by one load', async () => {
      const { cache } = await start(kind)
      let loads = 0
      const get = (): Promise<number> =>
        cache.getOrSet(
          k,
          async () => {
            await new Promise((resolve) => setTimeout(resolve, 20))
            return ++loads
          },
          { ttl: '60s', staleWhileRevalidate: '60s' },
        )
      expect(await get()).toBe(1)
      await cache.expire(k)
      expect(await Promise.all([get(), get(), get()])).toEqual([1, 1, 1])
      await waitFor(async () => (await get()) === 2)
      expect(loads).toBe(2)
    })

    test('stale if the loader fails', async () => {
      const { cache } = await start(kind)
      const options = { staleIfError: '60s' }
      expect(await cache.getOrSet(k, () => 1, options)).toBe(1)
      await cache.expire(k)
      const fail = (): number => {
        throw new Error('source is down')
      }
      expect(await cache.getOrSet(k, fail, options)).toBe(1)
      expect(await cache.getOrSet(k, () => 2, options)).toBe(2)
      await cache.delete(k)
      await expect(cache.getOrSet(k, fail, options)).rejects.toThrow('source is down')
    })
  })

  test('those keys were on every server there is', async () => {
    const held = await servers.keys('*:1:v:*')
    expect(held.length).toBe(servers.nodes.length)
    for (const keys of held) expect(keys.length).toBeGreaterThan(0)
  })
})
