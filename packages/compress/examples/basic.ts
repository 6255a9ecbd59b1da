import Fastify from 'fastify'
import scaleCompress from '@fastify-scale/compress'

const app = Fastify({ logger: true })
await app.register(scaleCompress)

app.get('/products', () =>
  Array.from({ length: 200 }, (_, id) => ({ id, name: `Product ${id}`, description: 'Fits every house' })),
)

// Events arrive when they are written, compressed or not.
app.get('/events', (_request, reply) => reply.type('text/event-stream').send(ticks()))
async function* ticks(): AsyncGenerator<string> {
  for (let n = 0; ; n++) {
    yield `data: ${n}\n\n`
    await new Promise((resolve) => setTimeout(resolve, 1_000))
  }
}

// A secret beside something that the client sent: not compressed (BREACH).
app.get('/form', { config: { compress: false } }, (request) => ({ csrf: 'secret', query: request.query }))

await app.listen({ port: 3000 })
