import { readFileSync } from 'node:fs'
import scaleAuth from '@fastify-scale/auth'
import scaleCache from '@fastify-scale/cache'
import scaleCompress from '@fastify-scale/compress'
import scaleJobs from '@fastify-scale/jobs'
import scaleRealtime from '@fastify-scale/realtime'
import scaleSettings from '@fastify-scale/settings'
import scaleStorage from '@fastify-scale/storage'
import { type RedisServer, startRedis, waitFor } from '@fastify-scale/dev-services'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'

const plugins = { scaleAuth, scaleCache, scaleCompress, scaleJobs, scaleRealtime, scaleSettings, scaleStorage }
let redis: RedisServer
let client: Redis
let app: FastifyInstance

beforeAll(async () => {
  redis = await startRedis({ args: ['--maxmemory-policy', 'noeviction'] })
})
afterAll(() => redis?.stop())
beforeEach(() => {
  client = new Redis(redis.url)
  app = Fastify()
})
afterEach(async () => {
  await app.close()
  client.disconnect()
})

/** The JavaScript of a page, all blocks in their order, with what it takes for granted. */
async function runBlocks(page: string, only: RegExp, given: Record<string, unknown>): Promise<void> {
  const text = readFileSync(new URL(`../../${page}`, import.meta.url), 'utf8')
  const blocks = [...text.matchAll(/^```js\n([\s\S]*?)^```/gm)].map(([, code]) => code as string)
  const code = blocks
    .filter((block) => only.test(block))
    .join('\n')
    .replaceAll(/^import .*$/gm, '')
  const names = { app, ...plugins, ...given }
  const AsyncFunction = (async () => undefined).constructor as new (
    ...args: string[]
  ) => (...args: unknown[]) => Promise<void>
  await new AsyncFunction(...Object.keys(names), code)(...Object.values(names))
}

const env = (): Record<string, string> => ({
  REDIS_URL: redis.url,
  JWT_SECRET: 'thirty-two random bytes, or more than that',
})

test('getting started: every block runs as it is written, all in one service', async () => {
  let products = [{ id: 1 }]
  const sent: string[] = []
  await runBlocks('docs/getting-started.md', /await app\.register/, {
    process: { env: env() },
    db: {
      products: () => products,
      update: async () => void (products = [{ id: 2 }]),
      addPicture: async () => undefined,
    },
    // The code of the page gives everybody the role 'user'.
    check: async () => ({ id: 'u1' }),
    mailer: { send: async (to: string) => void sent.push(to) },
    report: async () => undefined,
    user: { id: 'u1' },
    userId: 'u1',
    id: 'o1',
    status: 'shipped',
  })
  await app.ready()
  const list = async () => (await app.inject('/products')).json()
  expect([await list(), await list()]).toEqual([[{ id: 1 }], [{ id: 1 }]])
  expect((await app.inject({ method: 'PUT', url: '/products/1', payload: {} })).statusCode).toBe(200)
  expect(await list()).toEqual([{ id: 2 }])

  const login = (await app.inject({ method: 'POST', url: '/login', payload: {} })).json<Record<string, string>>()
  const payload = { refreshToken: login['refreshToken'] }
  const again = (await app.inject({ method: 'POST', url: '/refresh', payload })).json<Record<string, string>>()
  const headers = { authorization: `Bearer ${again['accessToken']}` }
  expect((await app.inject({ url: '/me', headers })).json()).toMatchObject({ sub: 'u1' })
  expect((await app.inject('/me')).statusCode).toBe(401)
  expect((await app.inject({ method: 'POST', url: '/pictures' })).statusCode).toBe(401)
  expect((await app.inject('/status')).json()).toEqual({ maintenance: false })
  expect((await app.inject({ method: 'PUT', url: '/maintenance', headers, payload: { on: true } })).statusCode).toBe(
    403,
  )
  await app.settings.set('maintenance' as never, true as never)
  expect((await app.inject('/status')).json()).toEqual({ maintenance: true })
  await waitFor(() => sent.length === 1)
})

test("README: 'Use it' runs as it is written, and what it guards is guarded", async () => {
  const rows: string[] = []
  await runBlocks('README.md', /scaleCompress/, {
    process: { env: env() },
    redis: client,
    db: { products: () => ['a'], addPhoto: (url: string) => void rows.push(url) },
    reply: { code: () => undefined },
  })
  await app.ready()
  expect((await app.inject('/me')).statusCode).toBe(401)
  const { accessToken } = await app.auth.login({ sub: 'u1' })
  expect((await app.inject({ url: '/me', headers: { authorization: `Bearer ${accessToken}` } })).statusCode).toBe(200)
  expect(app.storage.url('uploads/a.png')).toBe('https://cdn.example.com/uploads/a.png')
})
