import { selfSigned, waitFor } from '@fastify-scale/dev-services'
import { once } from 'node:events'
import { connect } from 'node:http2'
import { Readable } from 'node:stream'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type InjectOptions } from 'fastify'
import { describe, expect, test } from 'vitest'
import { type RouteCacheOptions, scaleCache } from '../src/index.ts'
import { uniquePrefix, useRedis } from './support.ts'

const redis = useRedis()
const { open } = redis

async function site(
  cache: RouteCacheOptions,
  handler: (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>,
  app: FastifyInstance = Fastify(),
): Promise<FastifyInstance> {
  open.push(app)
  await app.register(scaleCache, {
    redis: redis.url,
    prefix: uniquePrefix(),
    maxValueSize: '1MB',
    commandTimeout: '1s',
  })
  app.get('/items', { config: { cache } }, handler)
  app.post('/items', async () => 'done')
  return app
}

const statusOf = async (app: FastifyInstance, request: InjectOptions): Promise<string> =>
  String((await app.inject(request)).headers['cache-status'])

describe('where a response is filed', () => {
  test("with a key of the route's own a POST to the URL still invalidates, whatever the query that filled it", async () => {
    let version = 1
    const app = await site({ ttl: '60s', key: () => 'items' }, async () => `v${version}`)
    expect((await app.inject('/items?utm=1')).body).toBe('v1')
    expect((await app.inject('/items')).body).toBe('v1')
    version++
    await app.inject({ method: 'POST', url: '/items' })
    expect((await app.inject('/items')).body).toBe('v2')
    expect((await app.inject('/items?utm=2')).body).toBe('v2')
  })

  test('names in `vary` may stand in any order, and twice', async () => {
    const app = await site({ ttl: '60s', vary: ['x-tenant', 'Accept-Language', 'x-tenant'] }, async () => 'x')
    const request = { url: '/items', headers: { 'x-tenant': 'a', 'accept-language': 'en' } }
    expect(await statusOf(app, request)).toMatch(/stored/)
    expect(await statusOf(app, request)).toMatch(/hit/)
    expect(await statusOf(app, { ...request, headers: { 'x-tenant': 'b' } })).toMatch(/stored/)
  })

  test('names in `vary` and those in Vary select together', async () => {
    const app = await site({ ttl: '60s', vary: 'x-tenant' }, async ({ headers }, reply) =>
      reply
        .header('vary', 'Accept-Language')
        .send(`${String(headers['x-tenant'])} ${String(headers['accept-language'])}`),
    )
    for (const tenant of ['a', 'b'])
      for (const language of ['en', 'de']) {
        const request = { url: '/items', headers: { 'x-tenant': tenant, 'accept-language': language } }
        expect((await app.inject(request)).body).toBe(`${tenant} ${language}`)
        const again = await app.inject(request)
        expect(again.headers['cache-status']).toMatch(/hit/)
        expect(again.body).toBe(`${tenant} ${language}`)
      }
  })

  test('a redirect of http to https is not stored for https', async () => {
    const app = await site(
      { ttl: '60s' },
      async (request, reply) => {
        if (request.protocol === 'http') return reply.redirect(`https://${request.host}${request.url}`, 301)
        return 'the items'
      },
      Fastify({ trustProxy: true }),
    )
    const by = (scheme: string): InjectOptions => ({ url: '/items', headers: { 'x-forwarded-proto': scheme } })
    expect((await app.inject(by('http'))).statusCode).toBe(301)
    expect((await app.inject(by('https'))).body).toBe('the items')
    expect((await app.inject(by('http'))).headers['cache-status']).toMatch(/hit/)
    // An unsafe request ends both.
    await app.inject({ method: 'POST', ...by('https') })
    expect(await statusOf(app, by('http'))).not.toMatch(/hit/)
  })
})

describe('where a failed answer may be covered', () => {
  const failing = (): Parameters<typeof site>[1] => {
    let fails = false
    return async () => {
      if (fails) throw new Error('down')
      fails = true
      return 'good'
    }
  }

  test('without staleIfError the failure is the answer, be what is stored fresh or not', async () => {
    const app = await site({ ttl: '60s' }, failing())
    expect((await app.inject('/items')).body).toBe('good')
    expect((await app.inject({ url: '/items', headers: { 'cache-control': 'no-cache' } })).statusCode).toBe(500)
  })

  test("a known user does not get nobody's page in place of an error", async () => {
    const app = await site({ ttl: '60s', staleIfError: '60s' }, failing())
    expect((await app.inject('/items')).body).toBe('good')
    expect((await app.inject({ url: '/items', headers: { authorization: 'Bearer x' } })).statusCode).toBe(500)
    expect((await app.inject({ url: '/items', headers: { 'cache-control': 'no-cache' } })).body).toBe('good')
  })
})

describe('what can not be stored is not waited for', () => {
  for (const [what, make] of [
    ['a Response', () => new Response('x')],
    ['a stream that turns out too large', () => Readable.from(['x'.repeat(2_000_000)])],
  ] as const)
    test(`${what}`, async () => {
      let inside = 0
      let most = 0
      const app = await site({ ttl: '60s' }, async () => {
        most = Math.max(most, ++inside)
        await new Promise((resolve) => setTimeout(resolve, 20))
        inside--
        return make()
      })
      await app.inject('/items')
      const answers = await Promise.all(Array.from({ length: 10 }, () => app.inject('/items')))
      expect(answers.every(({ statusCode }) => statusCode === 200)).toBe(true)
      expect(most).toBe(10)
    })
})

test.each(['http', 'https'])('a stale response is refreshed over HTTP/2 too, %s', async (scheme) => {
  let runs = 0
  const seen = new Set<string>()
  const app = await site(
    { ttl: 50, staleWhileRevalidate: '60s' },
    async ({ protocol, host }) => {
      seen.add(`${protocol}://${host}`)
      return `run ${++runs}`
    },
    Fastify({ http2: true, ...(scheme === 'https' && { https: selfSigned() }) } as object),
  )
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const session = connect(url, { rejectUnauthorized: false })
  const ask = async (): Promise<string> => {
    const stream = session.request({ ':path': '/items' })
    let text = ''
    for await (const chunk of stream) text += String(chunk)
    return text
  }
  try {
    expect(await ask()).toBe('run 1')
    await waitFor(async () => (await ask()) !== 'run 1')
    // The handler can't tell it from the client's own.
    expect([...seen]).toEqual([url])
  } finally {
    session.close()
    await once(session, 'close')
  }
})

test('Range is for GET: a HEAD request with one is told of the whole', async () => {
  const app = await site({ ttl: '60s' }, async () => 'body')
  await app.inject('/items')
  const head = await app.inject({ method: 'HEAD', url: '/items', headers: { range: 'bytes=0-1' } })
  expect([head.statusCode, head.headers['content-length']]).toEqual([200, '4'])
})
