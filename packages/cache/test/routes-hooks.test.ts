import Fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type LightMyRequestResponse,
} from 'fastify'
import { describe, expect, test } from 'vitest'
import { scaleCache } from '../src/index.ts'
import { uniquePrefix, useRedis } from './support.ts'

const redis = useRedis()
const { open } = redis

/** An app with one cached route, whose handler counts its runs. */
async function site(
  setup: (app: FastifyInstance) => void,
  handler: (request: FastifyRequest, reply: FastifyReply, runs: number) => unknown,
  late: (app: FastifyInstance) => void = () => undefined,
): Promise<{ ask: (headers?: Record<string, string>) => Promise<LightMyRequestResponse> }> {
  let runs = 0
  const app = Fastify()
  open.push(app)
  setup(app)
  await app.register(scaleCache, { redis: redis.url, prefix: uniquePrefix(), commandTimeout: '1s' })
  late(app)
  app.get('/', { config: { cache: { ttl: '60s' } } }, async (request, reply) => handler(request, reply, ++runs))
  await app.ready()
  return { ask: (headers = {}) => app.inject({ url: '/', headers }) }
}

const refuse = async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> =>
  request.headers['x-api-key'] === 'secret' ? undefined : reply.code(401).send('no key')

describe('who is asking', () => {
  for (const [how, add] of [
    [
      'replaces the list',
      (route: { preHandler?: unknown }) => (route.preHandler = [route.preHandler ?? [], refuse].flat()),
    ],
    ['adds to the list', (route: { preHandler?: unknown }) => void (route.preHandler as unknown[]).push(refuse)],
  ] as const)
    test(`a guard that a later plugin gives to every route stands before the look-up: it ${how}`, async () => {
      const one = await site(
        () => undefined,
        (_request, _reply, runs) => `run ${runs}`,
        (app) => app.addHook('onRoute', (route) => void add(route)),
      )
      expect((await one.ask()).statusCode).toBe(401)
      expect((await one.ask({ 'x-api-key': 'secret' })).body).toBe('run 1')
      expect((await one.ask({ 'x-api-key': 'secret' })).headers['cache-status']).toMatch(/hit/)
      expect((await one.ask()).statusCode).toBe(401)
    })

  test('who becomes known in the handler has an answer of their own', async () => {
    const one = await site(
      (app) => app.decorateRequest('user', null as never),
      (request) => {
        const user = request.headers['x-user']
        ;(request as { user?: unknown }).user = user === undefined ? undefined : { sub: user }
        return `for ${String(user)}`
      },
    )
    expect((await one.ask({ 'x-user': 'ann' })).body).toBe('for ann')
    expect((await one.ask({ 'x-user': 'bob' })).body).toBe('for bob')
  })
})

describe('headers that hooks set', () => {
  const always =
    (name: string, value: string | string[]) =>
    (app: FastifyInstance): void =>
      void app.addHook('onRequest', async (_request, reply) => void reply.header(name, value))

  test('what they say against storing counts', async () => {
    const one = await site(always('cache-control', 'private, no-store'), (_request, _reply, runs) => `run ${runs}`)
    expect((await one.ask()).body).toBe('run 1')
    expect((await one.ask()).body).toBe('run 2')
  })

  test('the handler may say otherwise', async () => {
    const one = await site(always('cache-control', 'no-store'), (_request, reply, runs) =>
      reply.header('cache-control', 'public, max-age=60').send(`run ${runs}`),
    )
    expect((await one.ask()).body).toBe('run 1')
    expect((await one.ask()).body).toBe('run 1')
  })

  test('what they say that answers differ by selects', async () => {
    const one = await site(always('vary', 'Accept-Language'), (request) => `in ${request.headers['accept-language']}`)
    for (let again = 0; again < 2; again++) {
      expect((await one.ask({ 'accept-language': 'en' })).body).toBe('in en')
      expect((await one.ask({ 'accept-language': 'de' })).body).toBe('in de')
    }
    expect((await one.ask({ 'accept-language': 'de' })).headers['cache-status']).toMatch(/hit/)
  })

  test('but for Origin, which CORS answers on every response by itself', async () => {
    const one = await site(always('vary', 'Origin'), (_request, _reply, runs) => `run ${runs}`)
    expect((await one.ask({ origin: 'https://a.example' })).body).toBe('run 1')
    const other = await one.ask({ origin: 'https://b.example' })
    expect([other.body, other.headers['vary']]).toEqual(['run 1', 'Origin'])
  })

  test('their cookies are set on every answer and stored in none; one of the handler is not missed among them', async () => {
    const both = always('set-cookie', ['a=1', 'b=2'])
    const plain = await site(both, (_request, _reply, runs) => `run ${runs}`)
    expect((await plain.ask()).body).toBe('run 1')
    const hit = await plain.ask()
    expect([hit.body, hit.headers['set-cookie']]).toEqual(['run 1', ['a=1', 'b=2']])

    const session = await site(both, (_request, reply, runs) =>
      reply.header('set-cookie', `sid=${runs}`).send(`run ${runs}`),
    )
    expect((await session.ask()).headers['set-cookie']).toEqual(['a=1', 'b=2', 'sid=1'])
    expect((await session.ask()).headers['set-cookie']).toEqual(['a=1', 'b=2', 'sid=2'])

    const shared = await site(always('set-cookie', 'a=1'), (_request, reply) =>
      reply.header('set-cookie', 'theme=dark').header('cache-control', 'public, max-age=60').send('x'),
    )
    await shared.ask()
    const again = await shared.ask()
    expect(again.headers['cache-status']).toMatch(/hit/)
    expect(again.headers['set-cookie']).toEqual(['a=1', 'theme=dark'])
  })
})
