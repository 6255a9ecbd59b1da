import Fastify, { type FastifyInstance } from 'fastify'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type ScaleCacheOptions, corruptChannel, scaleCache, skipChannel } from '../src/index.ts'
import { KINDS, type Servers, startServers } from './servers.ts'
import { appWith, uniquePrefix } from './support.ts'

describe.each(KINDS)('on %s', (kind) => {
  let servers: Servers
  let admin: Servers['admin']
  let app: FastifyInstance
  /** Whose deletes have two parts. */
  let versioned: FastifyInstance
  let prefix: string

  beforeAll(async () => {
    servers = await startServers(kind)
    admin = servers.admin
  })
  beforeEach(async () => {
    await app?.close()
    prefix = uniquePrefix()
    app = await appWith({ redis: servers.redis, prefix, loaderTimeout: 200, maxValueSize: '10KB' })
    versioned = await appWith({ redis: servers.redis, prefix: `${prefix}v`, version: '1' })
  })
  afterAll(async () => {
    await Promise.all([app.close(), versioned.close()])
    await servers.stop()
  })

  const code = (name: string): { code: string } => ({ code: `SCALE_CACHE_${name}` })

  describe('loaders', () => {
    test('one that throws, at once or later: its own error, nothing cached, the next caller loads', async () => {
      for (const loader of [
        (): number => {
          throw new RangeError('no')
        },
        async (): Promise<number> => Promise.reject(new RangeError('no')),
      ]) {
        await expect(app.cache.getOrSet('k', loader)).rejects.toThrow(RangeError)
        expect(await app.cache.get('k')).toBeUndefined()
      }
      expect(await app.cache.getOrSet('k', () => 1)).toBe(1)
    })

    test('one that hangs is given up at loaderTimeout, its signal aborted', async () => {
      let signal: AbortSignal | undefined
      const hang = app.cache.getOrSet('k', (context) => {
        signal = context.signal
        return new Promise<never>(() => undefined)
      })
      await expect(hang).rejects.toMatchObject({ ...code('LOADER_TIMEOUT'), statusCode: 504 })
      expect(signal?.aborted).toBe(true)
      expect(await app.cache.getOrSet('k', () => 1)).toBe(1)
    })

    test('undefined is refused, null is a value with a ttl of its own', async () => {
      await expect(app.cache.getOrSet('k', () => undefined)).rejects.toMatchObject(code('LOADER_UNDEFINED'))
      expect(await app.cache.getOrSet('n', () => null, { nullTtl: 0 })).toBeNull()
      expect(await app.cache.getOrSet('n', () => 1)).toBe(1)
      await expect(app.cache.set('k', undefined)).rejects.toMatchObject(code('OPTION'))
    })

    test('what is no function is refused', async () => {
      await expect(app.cache.getOrSet('k', 5 as never)).rejects.toMatchObject(code('OPTION'))
    })

    test('errors are cached when asked for, with their code and status', async () => {
      let loads = 0
      const fail = (): never => {
        loads++
        throw Object.assign(new Error('gone'), { code: 'E_GONE', statusCode: 410 })
      }
      for (let i = 0; i < 4; i++)
        await expect(app.cache.getOrSet('e', fail, { errorTtl: '10s' })).rejects.toMatchObject({
          message: 'gone',
          code: 'E_GONE',
          statusCode: 410,
        })
      expect(loads).toBe(1)
      expect(await app.cache.get('e')).toBeUndefined()
    })

    test('setTtl decides, and a wrong one is an error', async () => {
      expect(await app.cache.getOrSet('z', ({ setTtl }) => (setTtl(0), 1))).toBe(1)
      expect(await app.cache.get('z')).toBeUndefined()
      await expect(app.cache.getOrSet('z', ({ setTtl }) => (setTtl(-1), 1))).rejects.toMatchObject(code('OPTION'))
      await app.cache.getOrSet('y', ({ setTtl }) => (setTtl('1h'), 1), { ttl: 1_000 })
      expect(await admin.pttl(`${prefix}:1:v:{:y}`)).toBeGreaterThan(3_000_000)
    })

    test('callers that share a load whose result is not cached get one each', async () => {
      let loads = 0
      const answers = await Promise.all(
        Array.from({ length: 5 }, () =>
          app.cache.getOrSet(
            'u',
            async () => {
              await new Promise((resolve) => setTimeout(resolve, 20))
              return ++loads
            },
            { ttl: 0 },
          ),
        ),
      )
      expect(new Set(answers).size).toBe(answers.length)
    })
  })

  describe('keys', () => {
    const strange = [
      'a',
      '{a}',
      '}{',
      '}',
      '{}',
      '{',
      'a}b{c',
      '%7Da',
      '%',
      '%25',
      'a\0b',
      'a\nb',
      'a b',
      '\ud800',
      '\udfff',
      '\ufffd',
      'ü',
      'x'.repeat(10_240),
      `${'x'.repeat(10_239)}y`,
      '%%abc',
      ':a',
      '__proto__',
      'constructor',
    ]

    test('whatever they hold, each has a value of its own', async () => {
      for (const [i, key] of strange.entries()) await app.cache.set(key, i)
      for (const [i, key] of strange.entries()) expect(await app.cache.get(key)).toBe(i)
      for (const [i, key] of strange.entries()) expect(await app.cache.getOrSet(key, () => -1)).toBe(i)
      await app.cache.delete(strange.slice(0, 5))
      for (const [i, key] of strange.entries()) expect(await app.cache.get(key)).toBe(i < 5 ? undefined : i)
    })

    test('a namespace does not reach into another', async () => {
      await app.cache.namespace('a').set('b:c', 1)
      expect(await app.cache.namespace('a.b').get('c')).toBeUndefined()
      expect(await app.cache.get('a:b:c')).toBeUndefined()
      expect(() => app.cache.namespace('a/b')).toThrow(expect.objectContaining(code('OPTION')))
      expect(() => app.cache.namespace('')).toThrow(expect.objectContaining(code('OPTION')))
    })

    test.each([[''], [undefined], [5], [null], [{}]])('%o is refused', async (key) => {
      const wrong = key as string
      await expect(app.cache.getOrSet(wrong, () => 1)).rejects.toMatchObject(code('KEY'))
      await expect(app.cache.get(wrong)).rejects.toMatchObject(code('KEY'))
      await expect(app.cache.set(wrong, 1)).rejects.toMatchObject(code('KEY'))
      await expect(app.cache.delete([wrong])).rejects.toMatchObject(code('KEY'))
      await expect(versioned.cache.delete([wrong])).rejects.toMatchObject(code('KEY'))
    })
  })

  describe('values', () => {
    test('one that can not be serialized is refused, and the next caller loads', async () => {
      const cycle: Record<string, unknown> = {}
      cycle.self = cycle
      for (const value of [1n, cycle, () => 1, Symbol('x')]) {
        await expect(app.cache.getOrSet('k', () => value)).rejects.toMatchObject(code('NOT_SERIALIZABLE'))
        await expect(app.cache.set('k', value)).rejects.toMatchObject(code('NOT_SERIALIZABLE'))
      }
      expect(await app.cache.getOrSet('k', () => 1)).toBe(1)
    })

    test('one over the cap is answered, not cached, and told', async () => {
      const told: number[] = []
      const stop = skipChannel.subscribe(({ bytes }) => told.push(bytes))
      const big = 'x'.repeat(20_000)
      expect(await app.cache.getOrSet('k', () => big)).toBe(big)
      expect(await app.cache.get('k')).toBeUndefined()
      await expect(app.cache.set('k', big)).rejects.toMatchObject(code('TOO_LARGE'))
      expect(told).toEqual([20_002])
      stop()
    })

    test('corrupt and foreign data under a key is a miss, and told', async () => {
      const told: string[] = []
      const stop = corruptChannel.subscribe(({ reason }) => told.push(reason))
      const value = `${prefix}:1:v:{:k}`
      await app.cache.set('k', { a: 1 })
      const good = (await admin.getBuffer(value)) as Buffer
      const broken: Buffer[] = [
        Buffer.alloc(0),
        Buffer.from('hello'),
        Buffer.alloc(200),
        good.subarray(0, 20),
        good.subarray(0, good.length - 3),
        Buffer.concat([Buffer.from([0x53, 0xc1, 9]), good.subarray(3)]),
        Buffer.concat([good.subarray(0, 3), Buffer.from([0x0f]), good.subarray(4)]),
        Buffer.concat([good.subarray(0, 3), Buffer.from([0x10]), good.subarray(4)]),
        Buffer.concat([good.subarray(0, 44), Buffer.from([0xff, 0xff]), good.subarray(46)]),
      ]
      for (const [i, bytes] of broken.entries()) {
        await admin.set(value, bytes)
        expect(await app.cache.getOrSet('k', () => i)).toBe(i)
        expect(await app.cache.getOrSet('k', () => -1)).toBe(i)
      }
      expect(told.length).toBeGreaterThanOrEqual(broken.length)
      await admin.del(value)
      await admin.hset(value, 'a', '1')
      expect(await app.cache.getOrSet('k', () => 'hash')).toBe('hash')
      expect(await app.cache.get('k')).toBe('hash')
      stop()
    })

    test('random bytes under a key never come out as a value', async () => {
      const value = `${prefix}:1:v:{:k}`
      await app.cache.set('k', { secret: 'value' }, { tags: ['t'] })
      const good = (await admin.getBuffer(value)) as Buffer
      for (let i = 0; i < 300; i++) {
        const bytes = Buffer.from(good)
        // Header only: a changed payload is another payload.
        bytes[i % 46] = ((bytes[i % 46] as number) + 1 + (i % 254)) & 0xff
        await admin.set(value, bytes)
        const got = await app.cache.getOrSet('k', () => 'loaded')
        expect(['loaded', JSON.stringify({ secret: 'value' })]).toContain(
          typeof got === 'string' ? got : JSON.stringify(got),
        )
        await admin.del(value)
      }
    })

    test('compressed values come back, and are smaller in Redis', async () => {
      const other = await appWith({ redis: servers.redis, prefix, compressAbove: '1KB' })
      const text = 'abc '.repeat(2_000)
      await other.cache.set('c', text)
      expect(await admin.strlen(`${prefix}:1:v:{:c}`)).toBeLessThan(1_000)
      expect(await other.cache.get('c')).toBe(text)
      // A process that does not compress reads what one that does has written.
      expect(await app.cache.get('c')).toBe(text)
      await other.close()
    })
  })

  describe('times and tags', () => {
    test.each([[-1], [Number.NaN], [Number.POSITIVE_INFINITY], ['5 parsecs'], ['-1s'], [1.5], [{}]])(
      'a ttl of %o is refused',
      async (ttl) => {
        const options = { ttl: ttl as number }
        await expect(app.cache.getOrSet('k', () => 1, options)).rejects.toMatchObject(code('OPTION'))
        await expect(app.cache.set('k', 1, options)).rejects.toMatchObject(code('OPTION'))
      },
    )

    test('a ttl of 0 answers without caching, and set with it deletes', async () => {
      expect(await app.cache.getOrSet('k', () => 1, { ttl: 0 })).toBe(1)
      expect(await app.cache.get('k')).toBeUndefined()
      await app.cache.set('k', 1)
      await app.cache.set('k', 2, { ttl: 0 })
      expect(await app.cache.get('k')).toBeUndefined()
    })

    test.each([[['']], [[5]], [5], [Array.from({ length: 129 }, (_, i) => `t${i}`)]])(
      'tags %o are refused',
      async (tags) => {
        await expect(app.cache.getOrSet('k', () => 1, { tags: tags as string[] })).rejects.toMatchObject(code('OPTION'))
        await expect(app.cache.invalidateTags(tags as string[])).rejects.toMatchObject(code('OPTION'))
      },
    )
  })

  test.each<[string, ScaleCacheOptions]>([
    ['an unknown name', { tttl: 5 } as ScaleCacheOptions],
    ['a prefix with braces', { prefix: 'a{b' }],
    ['a jitter of 2', { jitter: 2 }],
    ['a version with a space', { version: 'a b' }],
    ['a serializer that is none', { serializer: {} as never }],
    ['l1 as a number', { l1: 5 as never }],
    ['an unknown name in l1', { l1: { size: 5 } as never }],
    ['a wrong l1.values', { l1: { values: 'shared' as never } }],
    ['a lease of nothing', { lease: 0 }],
    ['a maxValueSize of -1', { maxValueSize: -1 }],
  ])('%s is refused at registration', async (_, options) => {
    const wrong = Fastify()
    await expect(wrong.register(scaleCache, { redis: servers.redis, ...options })).rejects.toMatchObject(code('OPTION'))
  })

  test('after close every call is refused, and a load in flight does no harm', async () => {
    const closing = await appWith({ redis: servers.redis, prefix: uniquePrefix() })
    const pending = closing.cache.getOrSet('k', () => new Promise<number>((resolve) => setTimeout(resolve, 50, 1)))
    await closing.close()
    await closing.close()
    expect(await pending).toBe(1)
    await expect(closing.cache.getOrSet('k', () => 1)).rejects.toMatchObject(code('CLOSED'))
    await expect(closing.cache.delete('k')).rejects.toMatchObject(code('CLOSED'))
    await expect(closing.cache.clear()).rejects.toMatchObject(code('CLOSED'))
  })

  test('versions do not see each other, and a delete reaches both', async () => {
    const shared = uniquePrefix()
    const [old, next] = [
      await appWith({ redis: servers.redis, prefix: shared, version: '1' }),
      await appWith({ redis: servers.redis, prefix: shared, version: '2' }),
    ]
    try {
      expect(await old.cache.getOrSet('k', () => 'one')).toBe('one')
      expect(await next.cache.getOrSet('k', () => 'two')).toBe('two')
      for (let i = 0; i < 2; i++) expect([await old.cache.get('k'), await next.cache.get('k')]).toEqual(['one', 'two'])
      await next.cache.delete('k')
      expect([await old.cache.get('k'), await next.cache.get('k')]).toEqual([undefined, undefined])
      expect(await old.cache.getOrSet('k', () => 'again')).toBe('again')
      await next.cache.set('k', 'set')
      expect([await old.cache.get('k'), await next.cache.get('k')]).toEqual([undefined, 'set'])
    } finally {
      await Promise.all([old.close(), next.close()])
    }
  })
})
