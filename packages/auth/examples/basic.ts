import scaleAuth from '@fastify-scale/auth'
import Fastify from 'fastify'

declare module '@fastify-scale/auth' {
  interface AuthUser {
    roles?: ('admin' | 'user')[]
  }
}

const app = Fastify({ logger: true })

await app.register(scaleAuth, {
  secret: process.env.AUTH_SECRET, // openssl rand -base64 48
  issuer: 'https://shop.example',
  sessions: { redis: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' },
})

app.post<{ Body: { name: string; password: string } }>('/login', async (request, reply) => {
  const { name, password } = request.body
  if (name !== 'ada' || password !== 'countess') return reply.code(401).send({ error: 'wrong name or password' })
  return app.auth.login({ sub: name, roles: ['user'] })
})

app.post<{ Body: { refreshToken: string } }>('/refresh', async (request) => app.auth.refresh(request.body.refreshToken))

app.post<{ Body: { refreshToken: string } }>('/logout', async (request, reply) => {
  await app.auth.revoke({ refreshToken: request.body.refreshToken })
  return reply.code(204).send()
})

app.get('/me', { onRequest: app.authenticate }, async (request) => ({
  name: request.user.sub,
  roles: request.user.roles,
}))
app.get('/admin', { onRequest: app.requireRole('admin') }, async () => ({ secret: 42 }))

await app.listen({ port: Number(process.env.PORT ?? 3000) })
