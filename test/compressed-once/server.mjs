// One process of a service with the cache and the compressor; tells how often it rendered and compressed.
import diagnostics from 'node:diagnostics_channel'
import scaleCache from '@fastify-scale/cache'
import scaleCompress from '@fastify-scale/compress'
import Fastify from 'fastify'

const counts = { renders: 0, compressions: 0 }
diagnostics.subscribe('fastify-scale:compress:encoded', () => counts.compressions++)

const app = Fastify()
// On a machine that is too busy to answer within the default 100 ms Redis would count as away.
await app.register(scaleCache, { redis: process.env.REDIS_URL, prefix: 'once', ttl: '1m', commandTimeout: '10s' })
await app.register(scaleCompress)
app.get('/page', { config: { cache: { ttl: '1m' } } }, async () => {
  counts.renders++
  // As long as a page takes that is worth caching: every request of the crowd is waiting by then.
  await new Promise((resolve) => setTimeout(resolve, 300))
  return {
    rows: Array.from({ length: 500 }, (_, id) => ({ id, name: `row number ${id}`, text: 'the same for everybody' })),
  }
})
// A page that mixes a secret with what the client sent (BREACH).
app.get('/secret', { config: { cache: { ttl: '1m' }, compress: false } }, async () => 'secret '.repeat(1_000))
app.get('/small', { config: { cache: { ttl: '1m' }, compress: { threshold: 1 } } }, async () => 'small '.repeat(50))
app.get('/counts', { config: { cache: false, compress: false } }, async () => counts)
await app.listen({ port: 0, host: '127.0.0.1' })
process.send({ port: app.server.address().port })
process.on('disconnect', () => process.exit(0))
