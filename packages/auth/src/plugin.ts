import { createHash, randomBytes } from 'node:crypto'
import {
  type Authenticator,
  type Connections,
  addReadinessCheck,
  createRedisClock,
  offerCapability,
  openConnections,
  pause,
} from '@fastify-scale/kit'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { revokedChannel, streamChannel } from './channels.ts'
import { clearedCookies, tokenCookies } from './cookies.ts'
import { findCookie, findToken } from './credentials.ts'
import { AuthKeyError, AuthOptionError, AuthStaleError, AuthUnsupportedError } from './errors.ts'
import { type AuthRouteConfig, type Guard, addStalenessCheck, createGuards } from './guards.ts'
import { createIssuer } from './issuer.ts'
import type { Jwks } from './keys.ts'
import { openKeys } from './open-keys.ts'
import { type ResolvedOptions, type ResolvedSessions, type ScaleAuthOptions, resolveOptions } from './options.ts'
import { type Revocations, createRevocations } from './revocation.ts'
import { type RevocationStream, openRevocationStream } from './revocation-stream.ts'
import { type AuthService, type Tokens, createAuthService } from './service.ts'
import { type SessionStore, createSessionStore } from './session.ts'
import type { RequestUser, VerifiedClaims } from './user.ts'
import { createVerifier } from './verifier.ts'

/** `app.auth`. */
export interface ScaleAuth extends AuthService {
  /**
   * Verifies an access token, synchronously and without I/O: the one path that HTTP, sockets and guards all use.
   * @throws SCALE_AUTH_TOKEN_INVALID, SCALE_AUTH_TOKEN_EXPIRED, SCALE_AUTH_TOKEN_REVOKED
   */
  verify(token: string): RequestUser
  /** How old this process's knowledge of revocations may be, in ms; `Infinity` until it was loaded, and without sessions. */
  staleness(): number
  /** A guard that sets `request.user` where a token was sent, and lets requests without one pass. */
  optional: Guard
  /** The public keys (RFC 7517, 5). */
  jwks(): Jwks
  /** Puts the tokens into cookies. @throws SCALE_AUTH_UNSUPPORTED without the option `cookies` */
  setCookies(reply: FastifyReply, tokens: Tokens): void
  /** Removes the cookies: for a logout, never for a refresh that failed (another tab may have new ones by then). */
  clearCookies(reply: FastifyReply): void
  /**
   * The refresh token of the request's cookie, where there is one.
   * @throws SCALE_AUTH_CROSS_SITE where another site may have caused the request
   */
  refreshCookie(request: FastifyRequest): string | undefined
}

const PACKAGE = '@fastify-scale/auth'
/** Room for clocks that differ between Redis and a process, in s: a revocation is kept that much longer than it can matter. */
const CLOCK_ROOM = 60

const plugin: FastifyPluginAsync<ScaleAuthOptions> = async (fastify, given) => {
  const options = resolveOptions(given)
  const { decorators, profile } = options
  refuseTaken(fastify, options)
  const keys = await openKeys(options, fastify.log)
  fastify.addHook('onClose', async function scaleAuthKeys() {
    keys.close()
  })
  addReadinessCheck(fastify, {
    name: 'auth: keys',
    check() {
      if (!keys.loaded) throw new AuthKeyError(keys.failure ?? 'not loaded yet')
    },
  })

  const now = (): number => Date.now()
  const lifetime = profile.maxLifetime + profile.clockTolerance + CLOCK_ROOM
  const revocations = createRevocations(lifetime, () => now() / 1_000)
  const listeners = new Set<() => void>()
  const sessions = options.sessions && (await openSessions(fastify, options, options.sessions, revocations, listeners))

  const verifier = createVerifier({
    profile,
    keys: () => keys.current(),
    onUnknownKid: () => keys.onUnknownKid(),
    isRevoked: (claims) => revocations.isRevoked(claims),
    cacheSize: options.cacheSize,
    now,
  })
  const service = createAuthService({
    issuer: createIssuer({
      keys: options.foreign ? undefined : () => keys.current(),
      issuer: profile.issuer,
      audience: profile.audience[0] as string,
      ttl: options.accessTokenTtl / 1_000,
      now,
      random: randomBytes,
    }),
    ttl: options.accessTokenTtl / 1_000,
    sessions,
  })

  const credentials = { cookies: options.cookies, origins: options.origins }
  const read = (headers: Record<string, string | string[] | undefined>, method: string): VerifiedClaims | undefined => {
    const token = findToken(headers, method, credentials)
    return token === undefined ? undefined : verifier.verify(token)
  }
  const seen = Symbol('fastify-scale.auth')
  const guards = createGuards({ read, seen, user: decorators.user })

  const needCookies = (): NonNullable<ResolvedOptions['cookies']> => {
    if (!options.cookies) throw new AuthUnsupportedError("this needs the option 'cookies'")
    return options.cookies
  }
  const auth: ScaleAuth = {
    ...service,
    verify: (token) => verifier.verify(token) as unknown as RequestUser,
    staleness: () => sessions?.stream.staleness() ?? Number.POSITIVE_INFINITY,
    optional: guards.optional,
    jwks: () => keys.current().publicJwks(),
    setCookies(reply, { accessToken, expiresIn, refreshToken, refreshExpiresIn = 0 }) {
      void reply.header(
        'set-cookie',
        tokenCookies(needCookies(), {
          accessToken,
          accessTtl: expiresIn * 1_000,
          refreshToken,
          refreshTtl: refreshExpiresIn * 1_000,
        }),
      )
    },
    clearCookies(reply) {
      void reply.header('set-cookie', clearedCookies(needCookies()))
    },
    refreshCookie: ({ headers, method }) => findCookie(needCookies().refreshName, headers, method, options.origins),
  }
  const authenticator: Authenticator = {
    verify: (token) => verifier.verify(token),
    fromHeaders: read,
    onRevoked(listener) {
      const call = (): void => listener((user) => revocations.isRevoked(user))
      listeners.add(call)
      return () => void listeners.delete(call)
    },
    isAuthenticated: (request) => (request as Record<symbol, unknown>)[seen] !== null,
  }

  fastify.decorateRequest(seen, null)
  fastify.decorateRequest(decorators.user, null)
  fastify.decorate(decorators.auth, auth)
  fastify.decorate(decorators.authenticate, guards.authenticate)
  fastify.decorate(decorators.requireRole, guards.requireRole)
  fastify.decorate(decorators.requireScope, guards.requireScope)
  offerCapability(fastify, 'authenticator', authenticator)

  const least = options.sessions ? blockTime(options.sessions) * 2 : Number.POSITIVE_INFINITY
  fastify.addHook('onRoute', function scaleAuthRoute(route) {
    const config = (route.config as { auth?: AuthRouteConfig } | undefined)?.auth
    if (config?.maxStaleness === undefined) return
    if (!sessions) throw new AuthOptionError("config.auth.maxStaleness needs the option 'sessions'")
    addStalenessCheck(route, config, { staleness: () => auth.staleness(), least })
  })
  if (options.jwks) serveJwks(fastify, options.jwks, () => auth.jwks())
}

/** What one idle read of the stream may take: five proofs fit into the staleness that is promised. */
function blockTime({ maxStaleness }: ResolvedSessions): number {
  return Math.min(1_000, Math.floor(maxStaleness / 5))
}

async function openSessions(
  fastify: FastifyInstance,
  options: ResolvedOptions,
  sessions: ResolvedSessions,
  revocations: Revocations,
  listeners: ReadonlySet<() => void>,
): Promise<{ store: SessionStore; stream: RevocationStream }> {
  const connections: Connections = await openConnections({
    packageName: PACKAGE,
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

function serveJwks(
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

/** Names the way out before Fastify says only that a decorator is there. */
function refuseTaken(fastify: FastifyInstance, { decorators }: ResolvedOptions): void {
  for (const [key, name] of Object.entries(decorators)) {
    const taken = key === 'user' ? fastify.hasRequestDecorator(name) : fastify.hasDecorator(name)
    if (taken)
      throw new AuthOptionError(
        `the decorator '${name}' is taken by another plugin: choose another name with the option decorators.${key}`,
      )
  }
}

/**
 * scaleAuth: stateless tokens that can also be revoked.
 */
export const scaleAuth: FastifyPluginAsync<ScaleAuthOptions> = fp(plugin, { fastify: '5.x', name: PACKAGE })

export default scaleAuth
