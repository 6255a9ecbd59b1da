// A cached list route, or the same bytes as a constant.
import scaleCache from '@fastify-scale/cache'
import Fastify from 'fastify'
import { list, serve } from './print-url.mjs'

const app = Fastify({ logger: false })
const constant = JSON.stringify({ photos: list })
if (process.env.KIND === 'constant')
  app.get('/', (_request, reply) => reply.header('content-type', 'application/json; charset=utf-8').send(constant))
else {
  await app.register(scaleCache, { redis: process.env.REDIS_URL, prefix: `bench-${process.pid}`, ttl: '1m' })
  app.get('/', { config: { cache: { ttl: '1m' } } }, async () => ({ photos: list }))
}
await serve(app)
