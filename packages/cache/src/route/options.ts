import { type Duration, checkKnown, parseDuration, show } from '@fastify-scale/kit'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { OptionError, failOption } from '../errors.ts'

/** Under which a response is stored. With a `user`, it is that user's alone. */
export interface OwnKey {
  key: string
  /** Not empty. What is stored is private to them: authenticated requests, `private` and `Set-Cookie` are then stored. */
  user: string
}

/** `config.cache` of a route. What the handler's response says about caching rules over it. */
export interface RouteCacheOptions {
  /** How long a response is fresh where the handler does not say. Default: the heuristic of RFC 9111, 4.2.2. */
  ttl?: Duration
  /** As RFC 5861, where the response does not say. Default 0. */
  staleWhileRevalidate?: Duration
  /** As RFC 5861, where the response does not say. Default 0. */
  staleIfError?: Duration
  /** Tags of the response; `app.cache.invalidateTags` of one of them ends it. */
  tags?: string | readonly string[] | ((request: FastifyRequest, reply: FastifyReply) => string | readonly string[])
  /** Request headers that select between responses, beside those that the response names in `Vary`. */
  vary?: string | readonly string[]
  /** Replaces host and URL as the key. An object with `user` makes what is stored that user's own. */
  key?: (request: FastifyRequest) => string | OwnKey
  /** Requests with a `Cookie` header are treated like those without. Default false: they count as authenticated. */
  ignoreCookies?: boolean
}

export interface ResolvedRoute {
  ttl: number | undefined
  staleWhileRevalidate: number
  staleIfError: number
  tags: RouteCacheOptions['tags']
  vary: readonly string[]
  key: RouteCacheOptions['key']
  ignoreCookies: boolean
  /** `config.compress` of the route says how its answers are compressed, if at all: not here. */
  ownCompression: boolean
}

const NAMES = ['ttl', 'staleWhileRevalidate', 'staleIfError', 'tags', 'vary', 'key', 'ignoreCookies'] as const

/**
 * Checks `config.cache` of a route.
 *
 * @throws SCALE_CACHE_OPTION
 */
export function resolveRoute(options: RouteCacheOptions, url: string, compress: unknown): ResolvedRoute {
  const where = `config.cache of route ${url}`
  if (typeof options !== 'object' || options === null)
    throw new OptionError(`${where} must be an object or false, but is ${show(options)}`)
  checkKnown(options, NAMES, where, failOption)
  const duration = (name: 'ttl' | 'staleWhileRevalidate' | 'staleIfError'): number | undefined =>
    options[name] === undefined
      ? undefined
      : parseDuration(options[name], { name: `${name} in ${where}`, min: 0, max: 366 * 86_400_000, fail: failOption })
  const vary = options.vary === undefined ? [] : typeof options.vary === 'string' ? [options.vary] : options.vary
  if (!Array.isArray(vary) || vary.some((name) => typeof name !== 'string' || !/^[\w-]+$/.test(name)))
    throw new OptionError(`vary in ${where} must be names of headers, but is ${show(options.vary)}`)
  if (options.key !== undefined && typeof options.key !== 'function')
    throw new OptionError(`key in ${where} must be a function, but is ${show(options.key)}`)
  return {
    ttl: duration('ttl'),
    staleWhileRevalidate: duration('staleWhileRevalidate') ?? 0,
    staleIfError: duration('staleIfError') ?? 0,
    tags: options.tags,
    // In the order of `varyNames`.
    vary: [...new Set(vary.map((name) => name.toLowerCase()))].sort(),
    key: options.key,
    ignoreCookies: options.ignoreCookies ?? false,
    ownCompression: compress !== undefined,
  }
}
