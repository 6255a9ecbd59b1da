import scaleAuth from '@fastify-scale/auth'
import scaleCache from '@fastify-scale/cache'
import scaleCluster from '@fastify-scale/cluster'
import scaleCompress from '@fastify-scale/compress'
import scaleJobs from '@fastify-scale/jobs'
import scaleRealtime from '@fastify-scale/realtime'
import { createRealtimeClient } from '@fastify-scale/realtime/client'
import scaleSettings from '@fastify-scale/settings'
import scaleStorage from '@fastify-scale/storage'
import { type RedisServer, type S3Server, waitFor } from '@fastify-scale/dev-services'
import type { FastifyInstance } from 'fastify'
import { expect } from 'vitest'

/** The decorators whose default names others have too. */
export interface Names {
  auth: string
  user: string
  cache: string
}
export const DEFAULTS: Names = { auth: 'auth', user: 'user', cache: 'cache' }

// Under other names than those that the types know.
// oxlint-disable-next-line typescript/no-explicit-any
type Any = FastifyInstance & Record<string, any>

/** Every plugin of the suite, in one service. */
export async function registerOurs(
  app: FastifyInstance,
  options: { redis: RedisServer; s3: S3Server; names: Names; prefix: string; multipart: boolean },
): Promise<void> {
  const { redis, s3, names, prefix, multipart } = options
  const at = { redis: redis.url, prefix }
  const decorators = { auth: names.auth as 'auth', user: names.user as 'user' }
  const secret = 'a secret of ours that is long enough for it'
  await app.register(scaleAuth, { secret, issuer: 'ours', sessions: at, decorators })
  await app.register(scaleCompress, { threshold: 100 })
  await app.register(scaleCache, {
    ...at,
    prefix: `${prefix}:cache`,
    decorator: names.cache,
    ttl: '1m',
    // What a busy machine keeps waiting is still to be cached.
    commandTimeout: '2s',
  })
  await app.register(scaleStorage, {
    multipart,
    bucket: s3.bucket,
    region: s3.region,
    endpoint: s3.endpoint,
    publicBaseUrl: `${s3.endpoint}/${s3.bucket}`,
    credentials: { accessKeyId: s3.accessKeyId, secretAccessKey: s3.secretAccessKey },
  })
  await app.register(scaleSettings, {
    ...at,
    prefix: `${prefix}:settings`,
    schema: { limit: { type: 'integer', default: 1 } },
  })
  await app.register(scaleRealtime, { ...at, authorizeRoom: () => true, rooms: { 'news:*': { history: 10 } } })
  await app.register(scaleJobs, { ...at, prefix: `${prefix}:jobs` })
  await app.register(scaleCluster, {})
}

export function addOurRoutes(app: FastifyInstance, names: Names): void {
  const auth = (app as Any)[names.auth]
  app.post('/our-login', async () => auth.login({ sub: 'anna' }))
  app.get('/our-user', { onRequest: app.authenticate }, async (request) => ({
    sub: (request as unknown as Record<string, { sub: string }>)[names.user]?.sub,
  }))
  let renders = 0
  app.get('/our-page', { config: { cache: { ttl: '1m' } } }, async (_request, reply) => {
    // What others make of Cache-Control is theirs; a page that says it may be shared is.
    reply.header('cache-control', 'public, max-age=60')
    return { renders: ++renders, text: 'x'.repeat(500) }
  })
  app.post('/our-upload', (request) => app.storage.upload(request))
  const double = app.jobs.define<{ n: number }, number>('double', ({ n }) => 2 * n)
  app.post('/our-job', async () => app.jobs.waitUntilFinished((await double.add({ n: 21 })).id))
}

/** Uses each of ours over the network. */
export async function checkOurs(url: string, app: FastifyInstance, names: Names): Promise<void> {
  const { accessToken } = (await (await fetch(`${url}/our-login`, { method: 'POST' })).json()) as {
    accessToken: string
  }
  const user = await fetch(`${url}/our-user`, { headers: { authorization: `Bearer ${accessToken}` } })
  expect(await user.json()).toEqual({ sub: 'anna' })
  expect((await fetch(`${url}/our-user`)).status).toBe(401)

  const page = async () => {
    const response = await fetch(`${url}/our-page`, { headers: { 'accept-encoding': 'gzip' } })
    expect(response.headers.get('content-encoding')).toBe('gzip')
    return ((await response.json()) as { renders: number }).renders
  }
  expect([await page(), await page()]).toEqual([1, 1])
  let loads = 0
  const load = () => (app as Any)[names.cache].getOrSet('key', () => ++loads)
  expect([await load(), await load()]).toEqual([1, 1])

  const form = new FormData()
  form.set('file', new Blob(['stored']), 'a.txt')
  const stored = await fetch(`${url}/our-upload`, { method: 'POST', body: form })
  expect(await stored.json()).toMatchObject({ size: 6, url: expect.stringContaining('/uploads/') })

  const socket = createRealtimeClient<{ headline: (text: string) => void }, Record<string, never>>(url, {
    getToken: () => accessToken,
  })
  const seen: string[] = []
  socket.on('headline', (text) => void seen.push(text))
  await socket.join('news:1')
  await app.realtime.publish('news:1', 'headline' as never, 'read all about it' as never)
  await waitFor(() => seen.length === 1)
  socket.disconnect()

  const settings = app.settings as unknown as {
    set(key: string, value: unknown): Promise<void>
    get(key: string): unknown
  }
  await settings.set('limit', 7)
  expect(settings.get('limit')).toBe(7)
  expect(await (await fetch(`${url}/our-job`, { method: 'POST' })).json()).toBe(42)
  expect(app.cluster.worker.count).toBe(1)
}
