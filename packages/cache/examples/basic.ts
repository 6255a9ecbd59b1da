import Fastify from 'fastify'
import scaleCache from '@fastify-scale/cache'

const app = Fastify({ logger: true })
await app.register(scaleCache, { redis: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379', ttl: '5m' })

const db = {
  user: async (id: string): Promise<{ id: string; name: string }> => ({ id, name: `User ${id}` }),
}

// Data: loaded once in the whole cluster, whoever asks.
app.get<{ Params: { id: string } }>('/users/:id', (request) =>
  app.cache.getOrSet(`user:${request.params.id}`, () => db.user(request.params.id), { tags: ['users'] }),
)

// Responses: stored with their headers, conditional, compressed once.
app.get('/front', { config: { cache: { ttl: '30s', tags: 'front' } } }, async () => ({ made: new Date() }))

// When this is answered, no process serves what was there before.
app.post<{ Params: { id: string } }>('/users/:id', async (request) => {
  await app.cache.delete(`user:${request.params.id}`)
  await app.cache.invalidateTags('front')
  return { ok: true }
})

await app.listen({ port: 3000 })
