// The list of photos: KIND says by what way. `plain` and `gzipped` answer a constant; `suite` authenticates, answers from
// the route cache, compressed. BODY is the list as the example app answers it. Prints a token too.
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import scaleAuth from '@fastify-scale/auth'
import scaleCache from '@fastify-scale/cache'
import scaleCompress from '@fastify-scale/compress'
import Fastify from 'fastify'
import { serve } from './print-url.mjs'

const { KIND: kind, BODY: file, REDIS_URL: redis, JWT_SECRET: secret } = process.env
const body = readFileSync(file, 'utf8')
const type = 'application/json; charset=utf-8'
const app = Fastify({ logger: false })
let token = 'x'.repeat(300)
if (kind === 'suite') {
  const prefix = `bench-${process.pid}:`
  await app.register(scaleAuth, { secret, issuer: 'bench', sessions: { redis, prefix } })
  await app.register(scaleCompress)
  await app.register(scaleCache, { redis, prefix, ttl: '1m' })
  const list = JSON.parse(body)
  app.get('/api/photos', { onRequest: app.authenticate, config: { cache: { ttl: '1m' } } }, async (_request, reply) => {
    // The same for all who are logged in: an answer to an authenticated request is shared only where it says so.
    reply.header('cache-control', 's-maxage=60')
    return list
  })
  token = (await app.auth.login({ sub: 'u1', roles: ['user'], name: 'bench' })).accessToken
} else if (kind === 'gzipped') {
  const gzipped = gzipSync(body)
  app.get('/api/photos', (_request, reply) =>
    reply.header('content-type', type).header('content-encoding', 'gzip').send(gzipped),
  )
} else app.get('/api/photos', (_request, reply) => reply.header('content-type', type).send(body))
app.get('/token', async () => ({ token }))
await serve(app)
