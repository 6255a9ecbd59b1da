import type { FastifyRequest } from 'fastify'
import { OptionError } from '../errors.ts'
import { tagsOf } from '../tag-names.ts'
import type { ResolvedRoute } from './options.ts'
import { requestDirectives } from './request.ts'
import type { RouteSession, RouteTarget } from './session.ts'

/**
 * What a request asks for.
 *
 * @throws SCALE_CACHE_OPTION where the route's key is none
 */
export function targetOf(request: FastifyRequest, route: ResolvedRoute): RouteTarget {
  const url = urlOf(request)
  if (!route.key) return { primary: url, url, own: false }
  const given = route.key(request)
  const key = typeof given === 'string' ? given : given?.key
  if (typeof key !== 'string' || key === '')
    throw new OptionError(`config.cache.key of ${request.routeOptions.url} must return a text, or { key, user }`)
  if (typeof given !== 'object') return { primary: `=${key}`, url, own: false }
  if (typeof given.user !== 'string' || given.user === '')
    throw new OptionError(
      `config.cache.key of ${request.routeOptions.url} must return a user of at least one character`,
    )
  return { primary: `@${encodeURIComponent(given.user)}=${key}`, url, own: true }
}

/** Begins the session of a request that is not answered at once. */
export function openSession(request: FastifyRequest, route: ResolvedRoute, target: RouteTarget): RouteSession {
  return {
    route,
    ...target,
    directives: requestDirectives(request.headers),
    client: request.headers,
    authenticated: false,
    before: {},
    found: undefined,
    load: undefined,
    land: undefined,
    away: undefined,
    asked: performance.now(),
    validating: false,
    encodes: false,
    answered: false,
    forward: 'bypass',
  }
}

/** Scheme apart, the target URI. */
export function urlOf(request: FastifyRequest): string {
  return `${request.host}${request.url}`
}

/** A tag no user's tag is equal to. */
export function urlTagOf(url: string): string {
  return `~${url.length > 512 ? tagsOf('', url)[0] : url}`
}
