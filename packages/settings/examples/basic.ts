import Fastify from 'fastify'
import scaleSettings from '@fastify-scale/settings'

declare module '@fastify-scale/settings' {
  interface Settings {
    maintenance: boolean
  }
}

const app = Fastify({ logger: true })
await app.register(scaleSettings, {
  redis: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379',
  schema: { maintenance: { type: 'boolean', default: false } },
})

// A property access: no I/O.
app.get('/', async (_request, reply) =>
  app.settings.get('maintenance') ? reply.code(503).send({ maintenance: true }) : { hello: 'world' },
)

// Every process has it within milliseconds. A real service would ask who is calling.
app.put<{ Body: { value: boolean } }>('/maintenance', (request) =>
  app.settings.set('maintenance', request.body.value, { by: request.ip }),
)
app.get('/maintenance/history', () => app.settings.history('maintenance'))
app.settings.onChange('maintenance', (value, previous) => app.log.info({ value, previous }, 'maintenance'))

await app.listen({ port: 3000 })
