import { type Duration, parseDuration } from '@fastify-scale/kit'
import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction, RouteOptions, onRequestHookHandler } from 'fastify'
import { challengeFor } from './challenge.ts'
import { rejectedChannel } from './channels.ts'
import type { RequestHeaders } from './csrf.ts'
import { AuthOptionError, AuthStaleError, InsufficientScopeError, TokenMissingError } from './errors.ts'
import { type Needed, type Requirement, isMet, readRequirement } from './requirement.ts'
import type { Role, VerifiedClaims } from './user.ts'

/** A hook for `onRequest` (or `preHandler`) of a route; also for `@fastify/auth`'s lists. */
export type Guard = (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction) => void

/** Route-level options, under `config.auth`. */
export interface AuthRouteConfig {
  /**
   * Answer 503 where what this process knows of revocations is older than this: for routes on which a revoked token would
   * do more harm than an outage. At least 400 ms, and at least twice the time between two proofs (a fifth of
   * `sessions.maxStaleness`, at most 1 s).
   */
  maxStaleness?: Duration
}

export interface GuardParts {
  /** Finds and verifies the token of a request. */
  read: (headers: RequestHeaders, method: string) => VerifiedClaims | undefined
  /** Where a request keeps what was found. */
  seen: symbol
  /** Name of `request.user`. */
  user: string
}

export interface Guards {
  /** Refuses requests without a good token; sets `request.user`. */
  authenticate: Guard
  /** Sets `request.user` where a token was sent (and refuses a bad one); lets requests without one pass. */
  optional: Guard
  requireRole: (...roles: Requirement<Role>[]) => Guard
  requireScope: (...scopes: Requirement[]) => Guard
}

export function createGuards({ read, seen, user }: GuardParts): Guards {
  /** Verified once per request, however many guards it passes. */
  function identify(request: FastifyRequest): VerifiedClaims | undefined {
    const slots = request as unknown as Record<string | symbol, unknown>
    if (slots[seen] === true) return slots[user] as VerifiedClaims
    let claims: VerifiedClaims | undefined
    try {
      claims = read(request.headers, request.method)
    } catch (error) {
      slots[seen] = false
      throw error
    }
    if (!claims) return undefined
    slots[seen] = true
    slots[user] = claims
    return claims
  }

  function guard(needed: Needed | undefined, scope: boolean, optional: boolean): Guard {
    const challengeScope = needed && scope ? needed.names.join(' ') : undefined
    return function scaleAuthGuard(request, reply, done) {
      try {
        const claims = identify(request)
        if (!claims && !optional) throw new TokenMissingError()
        if (needed && claims && !isMet(needed, scope ? scopesOf(claims) : (claims.roles ?? [])))
          throw new InsufficientScopeError(needed.text)
      } catch (error) {
        const challenge = challengeFor(error, challengeScope)
        if (challenge !== undefined) void reply.header('www-authenticate', challenge)
        rejectedChannel.publish(() => ({ code: (error as { code: string }).code, reason: (error as Error).message }))
        done(error as Error)
        return
      }
      done()
    }
  }

  return {
    authenticate: guard(undefined, false, false),
    optional: guard(undefined, false, true),
    requireRole: (...roles) => guard(readRequirement('role', roles), false, false),
    requireScope: (...scopes) => guard(readRequirement('scope', scopes), true, false),
  }
}

function scopesOf(claims: VerifiedClaims): readonly string[] {
  const scope = claims['scope']
  return typeof scope === 'string' ? scope.split(' ') : []
}

/** Puts the check of `config.auth.maxStaleness` before a route's other hooks. @throws SCALE_AUTH_OPTION */
export function addStalenessCheck(
  route: RouteOptions,
  config: AuthRouteConfig,
  options: { staleness: () => number; least: number },
): void {
  if (config.maxStaleness === undefined) return
  const allowed = parseDuration(config.maxStaleness, {
    name: 'config.auth.maxStaleness',
    min: options.least,
    fail: (message) => new AuthOptionError(`${message} (route ${String(route.method)} ${route.url})`),
  })
  const check: onRequestHookHandler = function scaleAuthStaleness(_request, reply, done) {
    const age = options.staleness()
    if (age <= allowed) return done()
    void reply.header('retry-after', '1')
    done(new AuthStaleError(age === Number.POSITIVE_INFINITY ? 'not there yet and so' : `${Math.round(age)} ms`))
  }
  route.onRequest = [check, ...[route.onRequest ?? []].flat()]
}
