import scaleStorage from '@fastify-scale/storage'
import Fastify from 'fastify'

const app = Fastify({ logger: true })
await app.register(scaleStorage, { bucket: 'photos', region: 'eu-central-1', publicBaseUrl: 'https://cdn.example.com' })

app.post('/photos', (request) => app.storage.upload(request, { prefix: 'photos', allowedTypes: ['image/*'] }))

await app.listen({ port: 3000 })
