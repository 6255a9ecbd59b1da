import type { Compressor } from '@fastify-scale/kit'
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
  // A handler may answer http otherwise than https, with a redirect.
  if (!route.key) return { primary: `${request.protocol}://${url}`, tags: [urlTagOf(url)], own: false }
  const tags = [urlTagOf(url), anyQueryTagOf(url)]
  const given = route.key(request)
  const key = typeof given === 'string' ? given : given?.key
  if (typeof key !== 'string' || key === '')
    throw new OptionError(`config.cache.key of ${request.routeOptions.url} must return a text, or { key, user }`)
  if (typeof given !== 'object') return { primary: `=${key}`, tags, own: false }
  if (typeof given.user !== 'string' || given.user === '')
    throw new OptionError(
      `config.cache.key of ${request.routeOptions.url} must return a user of at least one character`,
    )
  return { primary: `@${encodeURIComponent(given.user)}=${key}`, tags, own: true }
}

/** Begins the session of a request that is not answered at once. */
export function openSession(
  request: FastifyRequest,
  route: ResolvedRoute,
  target: RouteTarget,
  compressor: Compressor | undefined,
): RouteSession {
  return {
    route,
    primary: target.primary,
    tags: target.tags,
    own: target.own,
    directives: requestDirectives(request.headers),
    client: request.headers,
    authenticated: false,
    before: {},
    varies: [],
    found: undefined,
    allowed: undefined,
    compressor,
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

/** The tag of a URL whatever its query: with a key of its own a route may answer several with one response. */
export function anyQueryTagOf(url: string): string {
  const end = url.indexOf('?')
  return urlTagOf(`${end === -1 ? url : url.slice(0, end)}?*`)
}
