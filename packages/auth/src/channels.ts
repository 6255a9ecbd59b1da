import { type Channel, createChannel } from '@fastify-scale/kit'

/** A request or a handshake was refused. `fastify-scale:auth:rejected` */
export const rejectedChannel: Channel<{ code: string; reason: string }> = createChannel('auth', 'rejected')

/** A session began. `fastify-scale:auth:login` */
export const loginChannel: Channel<{ sub: string; sid: string | undefined }> = createChannel('auth', 'login')

/**
 * A refresh token was used. `fastify-scale:auth:refresh`
 * `reused` means that somebody has a copy of it: the session was ended.
 */
export const refreshChannel: Channel<{
  outcome: 'rotated' | 'repeated' | 'kept' | 'reused' | 'invalid'
  sid?: string
}> = createChannel('auth', 'refresh')

/** This process learned of a revocation, its own or another's. `fastify-scale:auth:revoked` */
export const revokedChannel: Channel<{ kind: 'jti' | 'sid' | 'sub' | 'all' }> = createChannel('auth', 'revoked')

/** The state of following the revocation stream changed. `fastify-scale:auth:stream` */
export const streamChannel: Channel<{ event: 'error' | 'discontinuity'; reason?: string }> = createChannel(
  'auth',
  'stream',
)

/** The keys were loaded, or could not be. `fastify-scale:auth:keys` */
export const keysChannel: Channel<{ event: 'loaded' | 'failed'; keys?: number; active?: string; reason?: string }> =
  createChannel('auth', 'keys')
