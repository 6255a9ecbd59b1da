// A JSON answer of BYTES bytes, by way of KIND.
import { gzipSync } from 'node:zlib'
import scaleCache from '@fastify-scale/cache'
import scaleCompress from '@fastify-scale/compress'
import compress from '@fastify/compress'
import Fastify from 'fastify'
import { jsonOf, serve } from './print-url.mjs'

const kind = process.env.KIND
const app = Fastify({ logger: false })
const rows = jsonOf(Number(process.env.BYTES))
const text = JSON.stringify(rows)
const type = 'application/json; charset=utf-8'

if (kind === 'plugin') await app.register(compress)
if (kind === 'ours' || kind === 'cached') await app.register(scaleCompress)
if (kind === 'cached')
  await app.register(scaleCache, { redis: process.env.REDIS_URL, prefix: `bench-${process.pid}`, ttl: '1m' })
if (kind === 'constant') {
  const gzipped = gzipSync(text, { level: 6 })
  app.get('/', (_request, reply) =>
    reply
      .header('content-type', type)
      .header('content-encoding', 'gzip')
      .header('vary', 'accept-encoding')
      .send(gzipped),
  )
} else if (kind === 'none') {
  const plain = Buffer.from(text)
  app.get('/', (_request, reply) => reply.header('content-type', type).send(plain))
} else {
  app.get('/', { config: kind === 'cached' ? { cache: { ttl: '1m' } } : {} }, (_request, reply) => {
    reply.header('content-type', type)
    return text
  })
}
await serve(app)
