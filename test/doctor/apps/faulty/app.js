// Every fault that the doctor knows, each as it is met in the wild.
import { writeFile } from 'node:fs/promises'
import cookie from '@fastify/cookie'
import rateLimit from '@fastify/rate-limit'
import session from '@fastify/session'
import { Server } from 'socket.io'
import { todos } from './todos.js'

const startedAt = process.hrtime.bigint().toString()
let visits = 0

export default async function app(fastify) {
  await fastify.register(cookie)
  await fastify.register(session, { secret: 'a secret of more than thirty-two characters', cookie: { secure: false } })
  await fastify.register(rateLimit, { max: 10_000 })

  setInterval(() => {
    visits = 0
  }, 3_600_000).unref()

  const io = new Server(fastify.server)
  fastify.addHook('onClose', () => io.close())

  fastify.get('/instance', async () => ({ startedAt }))
  fastify.get('/visits', async () => ({ visits: ++visits }))
  fastify.get('/time', async () => ({ now: process.hrtime.bigint().toString(), id: Math.random() }))
  fastify.get('/todos', async () => ({ todos }))
  fastify.post('/todos', async (request) => {
    todos.push(request.body.title)
    await writeFile(new URL('uploads.txt', import.meta.url), request.body.title)
    return { added: true }
  })
  fastify.post('/login', async (request) => {
    request.session.user = request.body.name
    return { ok: true }
  })
  fastify.get('/me', async (request) => ({ user: request.session.user ?? null }))
}
