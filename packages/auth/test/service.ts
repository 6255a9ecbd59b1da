import Fastify, { type FastifyInstance } from 'fastify'
import { type ScaleAuthOptions, scaleAuth } from '../src/index.ts'

declare module '../src/index.ts' {
  interface AuthUser {
    roles?: ('admin' | 'user')[]
  }
}

export const SECRET = 'vE7bqkD0mZr4Uu1sY9wXcTf2LhNpJgA8-test-only'
export const ISSUER = 'https://shop.example'

export const DEFAULTS: ScaleAuthOptions = { secret: SECRET, issuer: ISSUER }

/** A small service with the routes that the tests need; the caller closes it. */
export async function createService(options: Partial<ScaleAuthOptions> = {}): Promise<FastifyInstance> {
  const app = Fastify()
  const source = options.keys || options.jwksUrl ? {} : { secret: SECRET }
  await app.register(scaleAuth, { issuer: ISSUER, ...source, ...options })
  app.get('/open', async () => ({ ok: true }))
  app.get('/me', { onRequest: app.authenticate }, async (request) => request.user)
  app.get('/maybe', { onRequest: app.auth.optional }, async (request) => ({ user: request.user }))
  app.delete('/x', { onRequest: app.requireRole('admin') }, async () => ({ deleted: true }))
  app.post('/write', { onRequest: app.authenticate }, async () => ({ written: true }))
  return app
}

export const bearer = (token: string): { authorization: string } => ({ authorization: `Bearer ${token}` })
