// The same application alone, without the launcher: node dist/server.js
import Fastify from 'fastify'
import app, { options } from './app.ts'

const server = Fastify({ ...options, logger: true })
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void server.close())
try {
  await server.register(app)
  await server.listen({ port: Number(process.env['PORT'] || 3000), host: process.env['HOST'] || '127.0.0.1' })
} catch (error) {
  process.stderr.write(`photo board: ${(error as Error).message}\n`)
  process.exit(1)
}
