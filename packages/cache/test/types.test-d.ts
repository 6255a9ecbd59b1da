import Fastify from 'fastify'
import { expectTypeOf, test } from 'vitest'
import { type ScaleCache, scaleCache } from '../src/index.ts'

const app = Fastify()

test('the decorator is there, and values have the type of their loader', () => {
  expectTypeOf(app.cache).toEqualTypeOf<ScaleCache>()
  expectTypeOf(app.cache.getOrSet('k', async () => ({ a: 1 }))).toEqualTypeOf<Promise<{ a: number }>>()
  expectTypeOf(app.cache.getOrSet('k', () => 'text')).toEqualTypeOf<Promise<string>>()
  expectTypeOf(app.cache.get<number>('k')).toEqualTypeOf<Promise<number | undefined>>()
  expectTypeOf(app.cache.get('k')).toEqualTypeOf<Promise<unknown>>()
  expectTypeOf(app.cache.namespace('n')).toEqualTypeOf<ScaleCache>()
})

test('options and route config are checked', () => {
  void app.register(scaleCache, { redis: 'redis://x', ttl: '5m', l1: false })
  // @ts-expect-error no such option
  void app.register(scaleCache, { tttl: 5 })
  app.get(
    '/a',
    { config: { cache: { ttl: '30s', tags: (request) => [request.url], vary: 'accept-language' } } },
    () => 'a',
  )
  app.get('/b', { config: { cache: false } }, () => 'b')
  // @ts-expect-error no duration
  app.get('/c', { config: { cache: { ttl: [] } } }, () => 'c')
  void app.cache.getOrSet('k', ({ signal, setTtl, addTags }) => {
    expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
    setTtl('5s')
    addTags(['a'])
    return 1
  })
})
