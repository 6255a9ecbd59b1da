import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { Jwks } from './keys.ts'

/** Serves the public keys; `maxAge` in ms. */
export function serveJwks(
  fastify: FastifyInstance,
  { path, maxAge }: { path: string; maxAge: number },
  jwks: () => Jwks,
): void {
  fastify.get(path, { logLevel: 'warn' }, async function scaleAuthJwks(request, reply) {
    const body = JSON.stringify(jwks())
    const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
    void reply
      .header('cache-control', `public, max-age=${Math.floor(maxAge / 1_000)}`)
      .header('etag', etag)
      .type('application/jwk-set+json')
    if (request.headers['if-none-match'] === etag) return reply.code(304).send()
    return reply.send(body)
  })
}
