// Faults behind something harmless: a plugin that is imported where it is registered, a list beside a clock.
import { todos } from './todos.js'

export default async function app(fastify) {
  await fastify.register(import('@fastify/rate-limit'), { max: 10_000 })
  fastify.get('/todos', async () => ({ todos, at: process.hrtime.bigint().toString() }))
  fastify.post('/todos', async (request) => {
    todos.push(request.body.title)
    return { added: true }
  })
}
