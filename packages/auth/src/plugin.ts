import { randomBytes } from 'node:crypto'
import { type Authenticator, addReadinessCheck, offerCapability, refuseTaken } from '@fastify-scale/kit'
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { clearedCookies, maxCookieValue, tokenCookies } from './cookies.ts'
import { findCookie, findToken } from './credentials.ts'
import { AuthKeyError, AuthOptionError, AuthUnsupportedError } from './errors.ts'
import { type AuthRouteConfig, type Guard, addStalenessCheck, createGuards } from './guards.ts'
import { createIssuer } from './issuer.ts'
import { serveJwks } from './jwks-route.ts'
import type { Jwks } from './keys.ts'
import { openKeys } from './open-keys.ts'
import { CLOCK_ROOM, blockTime, openSessions } from './open-sessions.ts'
import type { ScaleAuthOptions } from './options.ts'
import { type ResolvedOptions, resolveOptions } from './resolve-options.ts'
import { createRevocations } from './revocation.ts'
import { type AuthService, type Tokens, createAuthService } from './service.ts'
import { MAX_TOKEN_LENGTH } from './token.ts'
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
const plugin: FastifyPluginAsync<ScaleAuthOptions> = async (fastify, given) => {
  const options = resolveOptions(given)
  const { decorators, profile } = options
  for (const [key, name] of Object.entries(decorators))
    refuseTaken(
      fastify,
      name,
      `decorators.${key}`,
      (message) => new AuthOptionError(message),
      key === 'user' ? 'request' : 'instance',
    )
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
      maxTokenLength: options.cookies ? maxCookieValue(options.cookies.accessName) : MAX_TOKEN_LENGTH,
      now,
      random: randomBytes,
    }),
    ttl: options.accessTokenTtl / 1_000,
    sessions,
  })

  const credentials = {
    cookies: options.cookies,
    origins: options.origins,
    holds: (token: string) => verifier.holds(token),
  }
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

/**
 * scaleAuth: stateless tokens that can also be revoked.
 */
export const scaleAuth: FastifyPluginAsync<ScaleAuthOptions> = fp(plugin, { fastify: '5.x', name: PACKAGE })

export default scaleAuth
