import { startRedis, waitFor } from '@fastify-scale/dev-services'
import { offerCapability } from '@fastify-scale/kit'
import type { FastifyInstance, FastifyReply, FastifyRequest, LightMyRequestResponse } from 'fastify'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { afterEach, describe, expect, test } from 'vitest'
import type { RouteCacheOptions, ScaleCacheOptions } from '../src/index.ts'
import { appWith, uniquePrefix, useRedis } from './support.ts'

const redis = useRedis()
const { open } = redis

interface Site {
  app: FastifyInstance
  /** How often the handler ran. */
  runs: () => number
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown

async function site(
  cache: RouteCacheOptions | false,
  handler: Handler = () => 'body',
  setup: (app: FastifyInstance) => void = () => undefined,
  options: ScaleCacheOptions = {},
): Promise<Site> {
  let runs = 0
  const app = await appWith({ redis: redis.url, prefix: uniquePrefix(), ...options }, (instance) => {
    setup(instance)
    instance.get('/', { config: { cache } }, async (request, reply) => {
      runs++
      return handler(request, reply)
    })
  })
  open.push(app)
  return { app, runs: () => runs }
}

const get = (app: FastifyInstance, headers: Record<string, string> = {}, url = '/'): Promise<LightMyRequestResponse> =>
  app.inject({ method: 'GET', url, headers })

/** Asks until the answer comes from the cache. */
async function stored({ app }: Site, headers: Record<string, string> = {}): Promise<LightMyRequestResponse> {
  return waitFor(async () => {
    const response = await get(app, headers)
    return String(response.headers['cache-status']).includes('; hit') && response
  })
}

describe('what is stored', () => {
  test("a handler's answer for the route's ttl; Age and Cache-Status tell", async () => {
    const one = await site({ ttl: '60s' }, () => ({ a: 1 }))
    const first = await get(one.app)
    expect(first.headers['cache-status']).toBe('fastify-scale; fwd=uri-miss; stored')
    const second = await get(one.app)
    expect(second.json()).toEqual({ a: 1 })
    expect(second.headers['content-type']).toBe(first.headers['content-type'])
    expect(second.headers['cache-status']).toMatch(/^fastify-scale; hit; ttl=5\d$/)
    expect(second.headers['age']).toBe('0')
    expect(one.runs()).toBe(1)
  })

  test('other processes find it', async () => {
    const prefix = uniquePrefix()
    const [one, two] = [
      await site({ ttl: '60s' }, undefined, undefined, { prefix }),
      await site({ ttl: '60s' }, undefined, undefined, { prefix }),
    ]
    await get(one.app)
    expect((await get(two.app)).body).toBe('body')
    expect(two.runs()).toBe(0)
  })

  test("the handler's own word counts more than the route's ttl", async () => {
    for (const value of ['no-store', 'private', 'no-cache, max-age=60', 'max-age=0']) {
      const one = await site({ ttl: '60s' }, (_, reply) => reply.header('cache-control', value).send('x'))
      await get(one.app)
      await get(one.app)
      expect({ value, runs: one.runs() }).toEqual({ value, runs: 2 })
    }
  })

  test('without a ttl and a word of the handler nothing is stored', async () => {
    const one = await site({})
    await get(one.app)
    await get(one.app)
    expect(one.runs()).toBe(2)
  })

  test('streams within the cap, and not those that break off', async () => {
    const one = await site({ ttl: '60s' }, () => Readable.from(['a', 'b', 'c']))
    expect((await get(one.app)).body).toBe('abc')
    expect((await stored(one)).body).toBe('abc')
    expect(one.runs()).toBe(1)

    const big = await site({ ttl: '60s' }, () => Readable.from(['x'.repeat(3_000)]), undefined, { maxValueSize: '2KB' })
    expect((await get(big.app)).body).toHaveLength(3_000)
    expect((await get(big.app)).body).toHaveLength(3_000)
    expect(big.runs()).toBe(2)

    let broken = 0
    const cut = await site({ ttl: '60s' }, () => {
      broken++
      return Readable.from(
        (async function* () {
          yield 'half'
          if (broken === 1) throw new Error('broke off')
          yield 'whole'
        })(),
      )
    })
    await get(cut.app).catch(() => undefined)
    await waitFor(async () => (await get(cut.app)).body === 'halfwhole')
  })

  test('errors are not, unless they say so themselves', async () => {
    const one = await site({ ttl: '60s' }, () => {
      throw new Error('no')
    })
    expect((await get(one.app)).statusCode).toBe(500)
    expect((await get(one.app)).statusCode).toBe(500)
    expect(one.runs()).toBe(2)
  })

  test('hundreds of cold requests at once in two processes ask the handler once', async () => {
    const prefix = uniquePrefix()
    const slow: Handler = async () => {
      await new Promise((resolve) => setTimeout(resolve, 100))
      return 'slow'
    }
    const sites = [
      await site({ ttl: '60s' }, slow, undefined, { prefix }),
      await site({ ttl: '60s' }, slow, undefined, { prefix }),
    ]
    const answers = await Promise.all(Array.from({ length: 300 }, (_, i) => get((sites[i % 2] as Site).app)))
    expect(new Set(answers.map(({ body }) => body))).toEqual(new Set(['slow']))
    expect((sites[0] as Site).runs() + (sites[1] as Site).runs()).toBe(1)
  })

  test('requests for what can not be stored do not wait for each other', async () => {
    const one = await site({ ttl: '60s' }, async (_, reply) => {
      await new Promise((resolve) => setTimeout(resolve, 100))
      return reply.header('cache-control', 'no-store').send('x')
    })
    await get(one.app)
    const start = performance.now()
    await Promise.all(Array.from({ length: 20 }, () => get(one.app)))
    expect(performance.now() - start).toBeLessThan(1_000)
    expect(one.runs()).toBe(21)
  })

  test('headers that hooks set on every answer are not stored', async () => {
    let n = 0
    const one = await site({ ttl: '60s' }, undefined, (app) => {
      app.addHook('onRequest', async (_, reply) => {
        reply.header('x-request-id', String(++n))
      })
    })
    expect((await get(one.app)).headers['x-request-id']).toBe('1')
    expect((await get(one.app)).headers['x-request-id']).toBe('2')
    expect(one.runs()).toBe(1)
  })
})

describe('who is asking', () => {
  test.each<[string, Record<string, string>]>([
    ['Authorization', { authorization: 'Bearer x' }],
    ['a cookie', { cookie: 'sid=1' }],
  ])('an answer to a request with %s is not shared, unless it says that it may be', async (_, headers) => {
    const one = await site({ ttl: '60s' })
    await get(one.app, headers)
    await get(one.app, headers)
    await get(one.app)
    expect(one.runs()).toBe(3)
    const open = await site({}, (_request, reply) => reply.header('cache-control', 'public, max-age=60').send('x'))
    await get(open.app, headers)
    await get(open.app, headers)
    expect(open.runs()).toBe(1)
  })

  test("what a route's own preHandler found out counts, and nobody passes it by", async () => {
    let runs = 0
    const app = await appWith({ redis: redis.url, prefix: uniquePrefix() }, (instance) => {
      instance.get(
        '/',
        {
          config: { cache: { ttl: '60s' } },
          preHandler: async (request, reply) => {
            if (request.headers['x-token'] === 'good') (request as { user?: unknown }).user = { sub: 'ann' }
            else if (request.headers['x-token'] === 'bad') return reply.code(401).send('who are you?')
          },
        },
        async (request) => {
          runs++
          return `for ${(request as { user?: { sub: string } }).user?.sub ?? 'anybody'}`
        },
      )
    })
    open.push(app)
    expect((await get(app)).body).toBe('for anybody')
    expect((await get(app)).body).toBe('for anybody')
    expect(runs).toBe(1)
    // What was stored for anybody is not a known user's, nor the other way round.
    expect((await get(app, { 'x-token': 'good' })).body).toBe('for ann')
    expect((await get(app, { 'x-token': 'good' })).body).toBe('for ann')
    expect(runs).toBe(3)
    expect((await get(app, { 'x-token': 'bad' })).statusCode).toBe(401)
    expect((await get(app)).body).toBe('for anybody')
  })

  test('an authenticator of the suite is asked', async () => {
    const one = await site({ ttl: '60s' }, undefined, (app) =>
      offerCapability(app, 'authenticator', {
        isAuthenticated: (request: object) => (request as FastifyRequest).headers['x-known'] === '1',
      } as never),
    )
    await get(one.app, { 'x-known': '1' })
    await get(one.app, { 'x-known': '1' })
    expect(one.runs()).toBe(2)
  })

  test("a key with a user makes it that user's own", async () => {
    const one = await site(
      { ttl: '60s', key: (request) => ({ key: request.url, user: String(request.headers['authorization']) }) },
      (request) => `for ${request.headers.authorization}`,
    )
    for (let i = 0; i < 2; i++) {
      expect((await get(one.app, { authorization: 'ann' })).body).toBe('for ann')
      expect((await get(one.app, { authorization: 'bob' })).body).toBe('for bob')
    }
    expect(one.runs()).toBe(2)
  })

  test('Set-Cookie keeps an answer from being shared', async () => {
    const one = await site({ ttl: '60s' }, (_, reply) => reply.header('set-cookie', 'sid=secret').send('x'))
    await get(one.app)
    expect((await get(one.app)).headers['set-cookie']).toBe('sid=secret')
    expect(one.runs()).toBe(2)
  })

  test('ignoreCookies is for cookies that mean nothing', async () => {
    const one = await site({ ttl: '60s', ignoreCookies: true })
    await get(one.app, { cookie: 'seen=1' })
    await get(one.app, { cookie: 'seen=2' })
    expect(one.runs()).toBe(1)
  })
})

describe('what ends it', () => {
  test('tags of the route, given or made of the answer', async () => {
    const fixed = await site({ ttl: '60s', tags: ['posts'] })
    await get(fixed.app)
    await stored(fixed)
    await fixed.app.cache.invalidateTags('posts')
    await get(fixed.app)
    expect(fixed.runs()).toBe(2)

    const made = await site({ ttl: '60s', tags: (_, reply) => `status-${reply.statusCode}` })
    await get(made.app)
    await stored(made)
    await made.app.cache.invalidateTags('status-200')
    await get(made.app)
    expect(made.runs()).toBe(2)
  })

  test('clear', async () => {
    const one = await site({ ttl: '60s' })
    await get(one.app)
    await stored(one)
    await one.app.cache.clear()
    await get(one.app)
    expect(one.runs()).toBe(2)
  })

  test('an unsafe request to the URL that succeeds, in any process, before it is answered', async () => {
    const prefix = uniquePrefix()
    const unsafe = (app: FastifyInstance): void => {
      app.post('/', async (request, reply) => reply.code(Number(request.headers['x-status'] ?? 200)).send('done'))
    }
    const [one, two] = [
      await site({ ttl: '60s' }, undefined, unsafe, { prefix }),
      await site({ ttl: '60s' }, undefined, unsafe, { prefix }),
    ]
    await get(one.app)
    await stored(one)
    await two.app.inject({ method: 'POST', url: '/', headers: { 'x-status': '500' } })
    await get(one.app)
    expect(one.runs()).toBe(1)
    await two.app.inject({ method: 'POST', url: '/' })
    await get(one.app)
    expect(one.runs()).toBe(2)
  })

  test('an answer under way when its tag is invalidated is not stored', async () => {
    let finish!: () => void
    const held = new Promise<void>((resolve) => (finish = resolve))
    let value = 'old'
    const one = await site({ ttl: '60s', tags: 't' }, async () => {
      const seen = value
      if (seen === 'old') await held
      return seen
    })
    const first = get(one.app)
    await waitFor(() => one.runs() === 1)
    value = 'new'
    await one.app.cache.invalidateTags('t')
    const second = get(one.app)
    finish()
    expect((await first).body).toBe('old')
    expect((await second).body).toBe('new')
    expect((await get(one.app)).body).toBe('new')
  })
})

describe('stale answers', () => {
  const counting = (control: string): Handler => {
    let n = 0
    return (_, reply) => reply.header('cache-control', control).send(`v${++n}`)
  }

  test('while one request refreshes it', async () => {
    const one = await site({}, counting('max-age=1, stale-while-revalidate=60'))
    expect((await get(one.app)).body).toBe('v1')
    const stale = await waitFor(async () => {
      const response = await get(one.app)
      return /ttl=-\d/.test(String(response.headers['cache-status'])) && response
    })
    // An answer of the very millisecond in which it went stale says ttl=0: then this is the next one that is stale.
    expect(stale.body).toMatch(/^v\d$/)
    const { body } = stale
    await waitFor(async () => (await get(one.app)).body !== body)
  })

  test('where the handler fails, within staleIfError', async () => {
    let broken = false
    const one = await site({ staleIfError: '60s' }, (_, reply) => {
      if (broken) throw new Error('down')
      return reply.header('cache-control', 'max-age=1').header('etag', '"a"').send('good')
    })
    await get(one.app)
    await stored(one)
    broken = true
    const stale = await waitFor(async () => {
      const response = await get(one.app)
      return String(response.headers['cache-status']).includes('stale-if-error') && response
    })
    expect(stale.statusCode).toBe(200)
    expect(stale.body).toBe('good')
  })
})

describe('with a compressor', () => {
  let made = 0
  let taken = 0
  const compressor = (app: FastifyInstance): void =>
    offerCapability(app, 'compressor', {
      negotiate: (accept, available) => (accept?.includes('gzip') && available.includes('gzip') ? 'gzip' : 'identity'),
      isCompressible: (type) => type?.includes('json') ?? false,
      encodeVariants: async (body) => {
        made++
        return { gzip: gzipSync(body) }
      },
      takeOver: () => void taken++,
    })

  test('the gzip form is made once, and each client gets the form it takes', async () => {
    made = 0
    taken = 0
    const body = { list: Array.from({ length: 200 }, (_, i) => i) }
    const one = await site({ ttl: '60s' }, (_, reply) => reply.header('etag', '"v"').send(body), compressor)
    for (let i = 0; i < 3; i++) {
      const zipped = await get(one.app, { 'accept-encoding': 'gzip' })
      expect(zipped.headers['content-encoding']).toBe('gzip')
      expect(zipped.headers['vary']).toMatch(/accept-encoding/i)
      expect(zipped.headers['etag']).toBe('W/"v"')
      expect(zipped.rawPayload).toEqual(gzipSync(JSON.stringify(body)))
      expect(zipped.headers['content-length']).toBe(String(zipped.rawPayload.length))
      const plain = await get(one.app)
      expect(plain.headers['content-encoding']).toBeUndefined()
      expect(plain.headers['vary']).toMatch(/accept-encoding/i)
      expect(plain.json()).toEqual(body)
    }
    expect(made).toBe(1)
    expect(taken).toBe(6)
    expect(one.runs()).toBe(1)
    expect((await get(one.app, { 'if-none-match': 'W/"v"', 'accept-encoding': 'gzip' })).statusCode).toBe(304)
  })
})

test('a HEAD request is answered from the GET', async () => {
  const one = await site({ ttl: '60s' })
  await get(one.app)
  await stored(one)
  const head = await one.app.inject({ method: 'HEAD', url: '/' })
  expect(head.headers['cache-status']).toContain('hit')
  expect(head.headers['content-length']).toBe('4')
  expect(head.body).toBe('')
  expect(one.runs()).toBe(1)
})

describe('while Redis is away', () => {
  async function away(
    cache: RouteCacheOptions,
    handler: Handler,
    options: ScaleCacheOptions = {},
    setup?: (app: FastifyInstance) => void,
  ): Promise<Site> {
    const own = await startRedis()
    const one = await site(cache, handler, setup, { redis: own.url, commandTimeout: 100, ...options })
    await own.kill()
    ends.push(() => own.stop())
    // Until nothing waits for it any more.
    await waitFor(async () =>
      String((await get(one.app, {}, '/?probe')).headers['cache-status']).includes('detail=redis-away'),
    )
    return one
  }
  const ends: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const end of ends.splice(0)) await end()
  })
  /** A handler that answers when it is told to. */
  function gate(answer: Handler): { handler: Handler; open: () => void; waiting: () => number } {
    let waiting = 0
    let open!: () => void
    const opened = new Promise<void>((resolve) => (open = resolve))
    return {
      open,
      waiting: () => waiting,
      async handler(request, reply) {
        if (request.url.includes('probe')) return 'probe'
        waiting++
        await opened
        return answer(request, reply)
      },
    }
  }

  test('one handler answers all who came before it began and may share its response', async () => {
    const { handler, open, waiting } = gate(() => 'body')
    const one = await away({ ttl: '60s' }, handler)
    const before = one.runs()
    const all = Array.from({ length: 20 }, () => get(one.app))
    await waitFor(() => waiting() === 1)
    open()
    const answers = await Promise.all(all)
    expect(new Set(answers.map(({ body }) => body))).toEqual(new Set(['body']))
    expect(one.runs() - before).toBe(1)
    const statuses = answers.map((answer) => answer.headers['cache-status'])
    expect(statuses.filter((status) => status === 'fastify-scale; fwd=miss; detail=redis-away')).toHaveLength(1)
    expect(
      statuses.filter((status) => status === 'fastify-scale; fwd=miss; collapsed; detail=redis-away'),
    ).toHaveLength(19)
    // It is not kept: the next one asks.
    await get(one.app)
    expect(one.runs() - before).toBe(2)
  })

  test.each<[string, (reply: FastifyReply) => unknown, Record<string, string>]>([
    ['private', (reply) => reply.header('cache-control', 'private'), {}],
    ['no-store', (reply) => reply.header('cache-control', 'no-store'), {}],
    ['with a cookie', (reply) => reply.header('set-cookie', 'a=b'), {}],
    ['an error', (reply) => reply.code(500), {}],
    ['asked with a cookie', () => undefined, { cookie: 'a=b' }],
    ['asked with Authorization', () => undefined, { authorization: 'Bearer x' }],
    ['asked with no-cache', () => undefined, { 'cache-control': 'no-cache' }],
  ])('a response that is %s goes to nobody else', async (_, mark, headers) => {
    let n = 0
    const { handler, open } = gate((_request, reply) => {
      mark(reply)
      return `answer ${++n}`
    })
    const one = await away({ ttl: '60s' }, handler)
    const all = Array.from({ length: 5 }, () => get(one.app, headers))
    open()
    expect(new Set((await Promise.all(all)).map(({ body }) => body)).size).toBe(5)
  })

  test('what Vary names is asked for each value', async () => {
    const { handler, open, waiting } = gate((request, reply) => {
      reply.header('vary', 'X-Market')
      return `for ${String(request.headers['x-market'])}`
    })
    const one = await away({ ttl: '60s' }, handler)
    const all = ['se', 'se', 'no'].map((market) => get(one.app, { 'x-market': market }))
    await waitFor(() => waiting() === 1)
    open()
    expect((await Promise.all(all)).map(({ body }) => body)).toEqual(['for se', 'for se', 'for no'])
  })

  test('who asks after a change does not join what began before it', async () => {
    let version = 'old'
    let asked = 0
    const { handler, open, waiting } = gate(() => 'unused')
    const one = await away(
      { ttl: '60s' },
      async (request, reply) => {
        const seen = version
        await handler(request, reply)
        return seen
      },
      {},
      (app) => {
        app.addHook('preHandler', async () => void asked++)
        app.post('/', () => (version = 'new'))
      },
    )
    const first = get(one.app)
    await waitFor(() => waiting() === 1)
    expect((await one.app.inject({ method: 'POST', url: '/' })).statusCode).toBe(200)
    asked = 0
    const second = get(one.app)
    await waitFor(() => asked === 1)
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    open()
    expect((await first).body).toBe('old')
    expect((await second).body).toBe('new')
  })

  test('at most maxLoaders handlers run at once', async () => {
    let running = 0
    let most = 0
    const one = await away(
      { ttl: '60s' },
      async () => {
        most = Math.max(most, ++running)
        await new Promise((resolve) => setTimeout(resolve, 20))
        running--
        return 'body'
      },
      { maxLoaders: 3 },
    )
    const answers = await Promise.all(Array.from({ length: 30 }, (_, i) => get(one.app, {}, `/?${i}`)))
    expect(answers.every(({ body }) => body === 'body')).toBe(true)
    expect(most).toBe(3)
  })
})

test('every answer of a cached route says what the cache did', async () => {
  const one = await site(
    { ttl: '60s' },
    (request, reply) => {
      if (request.query && 'fail' in (request.query as object)) throw new Error('no')
      if (request.query && 'big' in (request.query as object)) return 'x'.repeat(20_000)
      reply.header('etag', '"a"')
      return 'body'
    },
    (app) => {
      app.addHook('onRequest', async (request, reply) => {
        if (request.headers['x-refused']) await reply.code(401).send('no')
      })
    },
    { maxValueSize: '10KB' },
  )
  const status = async (url: string, headers: Record<string, string> = {}, method: 'GET' | 'HEAD' = 'GET') => {
    const { statusCode, headers: got } = await one.app.inject({ method, url, headers })
    return [statusCode, String(got['cache-status']).replace(/ttl=\d+/, 'ttl=n'), got['age'] !== undefined]
  }
  expect(await status('/', {}, 'HEAD')).toEqual([200, 'fastify-scale; fwd=uri-miss', false])
  expect(await status('/', { range: 'bytes=0-1' })).toEqual([200, 'fastify-scale; fwd=uri-miss', false])
  expect(await status('/', { 'cache-control': 'only-if-cached' })).toEqual([
    504,
    'fastify-scale; fwd=uri-miss; detail=only-if-cached',
    false,
  ])
  expect(await status('/')).toEqual([200, 'fastify-scale; fwd=uri-miss; stored', false])
  await stored(one)
  expect(await status('/')).toEqual([200, 'fastify-scale; hit; ttl=n', true])
  expect(await status('/', {}, 'HEAD')).toEqual([200, 'fastify-scale; hit; ttl=n', true])
  expect(await status('/', { 'if-none-match': '"a"' })).toEqual([304, 'fastify-scale; hit; ttl=n', true])
  expect(await status('/', { range: 'bytes=0-1' })).toEqual([206, 'fastify-scale; hit; ttl=n', true])
  expect(await status('/', { range: 'bytes=9-' })).toEqual([416, 'fastify-scale; hit; ttl=n', true])
  expect(await status('/', { 'cache-control': 'no-store' })).toEqual([200, 'fastify-scale; fwd=request', false])
  expect(await status('/', { 'cache-control': 'no-cache' })).toEqual([200, 'fastify-scale; fwd=request; stored', false])
  expect(await status('/?fail')).toEqual([500, 'fastify-scale; fwd=uri-miss; detail="status 500"', false])
  expect(await status('/?big')).toEqual([200, 'fastify-scale; fwd=uri-miss; detail="too large"', false])
  expect(await status('/', { 'x-refused': '1' })).toEqual([401, 'fastify-scale; fwd=bypass', false])
})

test('a method that is not looked up says so, on the same route', async () => {
  const app = await appWith({ redis: redis.url, prefix: uniquePrefix() }, (instance) => {
    instance.route({ method: ['GET', 'POST'], url: '/', config: { cache: { ttl: '60s' } }, handler: () => 'body' })
  })
  open.push(app)
  expect((await app.inject({ method: 'POST', url: '/' })).headers['cache-status']).toBe('fastify-scale; fwd=method')
  expect((await get(app)).headers['cache-status']).toBe('fastify-scale; fwd=uri-miss; stored')
})

test('a wrong config.cache is refused when the route is registered', async () => {
  for (const wrong of [{ tttl: 1 }, { ttl: -1 }, { vary: 'a b' }, { key: 'x' }, 5]) {
    await expect(site(wrong as never)).rejects.toMatchObject({ code: 'SCALE_CACHE_OPTION' })
  }
})

test('vary of the route selects, and the answers say nothing of other headers', async () => {
  const one = await site({ ttl: '60s', vary: 'X-Market' }, (request) => `for ${String(request.headers['x-market'])}`)
  for (let i = 0; i < 2; i++) {
    expect((await get(one.app, { 'x-market': 'se' })).body).toBe('for se')
    expect((await get(one.app, { 'x-market': 'no' })).body).toBe('for no')
  }
  expect(one.runs()).toBe(2)
})
