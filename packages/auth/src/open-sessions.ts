import { randomBytes } from 'node:crypto'
import { addReadinessCheck, createRedisClock, openConnections, pause } from '@fastify-scale/kit'
import type { FastifyInstance } from 'fastify'
import { revokedChannel, streamChannel } from './channels.ts'
import { AuthOptionError, AuthStaleError } from './errors.ts'
import type { ResolvedOptions, ResolvedSessions } from './resolve-options.ts'
import type { Revocations } from './revocation.ts'
import { type RevocationStream, openRevocationStream } from './revocation-stream.ts'
import { type SessionStore, createSessionStore } from './session.ts'

/** Room for clocks that differ between Redis and a process, in s: a revocation is kept that much longer than it can matter. */
export const CLOCK_ROOM = 60

/** What one idle read of the stream may take: five proofs fit into the staleness that is promised. */
export function blockTime({ maxStaleness }: ResolvedSessions): number {
  return Math.min(1_000, Math.floor(maxStaleness / 5))
}

/** Connects what sessions need to Redis, to the app's life and to its readiness. */
export async function openSessions(
  fastify: FastifyInstance,
  options: ResolvedOptions,
  sessions: ResolvedSessions,
  revocations: Revocations,
  listeners: ReadonlySet<() => void>,
): Promise<{ store: SessionStore; stream: RevocationStream }> {
  const connections = await openConnections({
    packageName: '@fastify-scale/auth',
    redis: sessions.redis,
    host: fastify as { redis?: unknown },
    log: fastify.log,
    fail: (message) => new AuthOptionError(message),
  })
  // Format version 1.
  const prefix = `${connections.keyPrefix}${sessions.prefix}1:`
  const tokenLifetime = (options.profile.maxLifetime + options.profile.clockTolerance + CLOCK_ROOM) * 1_000
  const client = await connections.command({ timeout: sessions.commandTimeout })

  let announced = false
  const announce = (): void => {
    announced = false
    for (const listener of listeners) listener()
  }
  const stream = openRevocationStream({
    command: client,
    follower: connections.follower({ name: 'revocations' }),
    key: `${prefix}revocations`,
    revocations,
    lifetime: tokenLifetime,
    blockMs: blockTime(sessions),
    // An idle Redis looks at its timeouts every 100 ms only: an idle read may take as much longer.
    graceMs: Math.max(blockTime(sessions), 200),
    onEntry({ kind }) {
      revokedChannel.publish(() => ({ kind }))
      // Once for a page of entries.
      if (!announced) queueMicrotask(announce)
      announced = true
    },
    onError(error) {
      fastify.log.debug({ err: error }, 'following revocations failed, trying again')
      streamChannel.publish(() => ({ event: 'error', reason: error.message }))
    },
    onDiscontinuity() {
      fastify.log.warn('the revocation stream was deleted or made anew: reading it again and restoring what is known')
      streamChannel.publish(() => ({ event: 'discontinuity' }))
    },
  })
  const store = createSessionStore({
    ...sessions,
    client,
    clock: createRedisClock(client),
    prefix,
    tokenLifetime,
    timeout: sessions.commandTimeout,
    knownCutOff: () => revocations.all,
    random: randomBytes,
  })

  let loaded = false
  void stream.loaded.then(() => (loaded = true))
  addReadinessCheck(fastify, {
    name: 'auth: revocations',
    check() {
      // Once loaded it stays ready: without Redis verification goes on, and sending every process away would not help.
      if (!loaded) throw new AuthStaleError('not there yet and so')
    },
  })
  fastify.addHook('onReady', async function scaleAuthLoaded() {
    const stop = new AbortController()
    await Promise.race([stream.loaded, pause(sessions.commandTimeout, stop.signal)])
    stop.abort()
  })
  fastify.addHook('onClose', async function scaleAuthSessions() {
    await stream.close()
    await connections.close()
  })
  return { store, stream }
}
