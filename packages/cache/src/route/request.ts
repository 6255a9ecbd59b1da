import type { IncomingHttpHeaders } from 'node:http'
import { ageOf, freshFor } from './answer.ts'
import { type Directives, parseDirectives, seconds } from './directives.ts'
import type { StoredResponse } from './stored.ts'

const NONE: Directives = new Map()

/** What a request asks of caches (RFC 9111, 5.2.1). */
export function requestDirectives(headers: IncomingHttpHeaders): Directives {
  const control = headers['cache-control']
  if (control !== undefined) return parseDirectives(control)
  if (headers.pragma === undefined) return NONE
  // Pragma counts where there is no Cache-Control (RFC 9111, 5.4).
  return parseDirectives(headers.pragma).has('no-cache') ? new Map([['no-cache', true]]) : NONE
}

/** How a stored response may be used for a request. */
export type Use = 'fresh' | 'revalidating' | 'no'

/** Whether a stored response may answer a request, now, without asking (RFC 9111, 4). */
export function usable(stored: StoredResponse, directives: Directives, now: number): Use {
  if (stored.alwaysValidate || directives.has('no-cache')) return 'no'
  const left = freshFor(stored, now)
  const maxAge = seconds(directives, 'max-age')
  if (maxAge !== undefined && ageOf(stored, now) > maxAge * 1_000) return 'no'
  if (maxAge === 0) return 'no'
  const minFresh = seconds(directives, 'min-fresh')
  if (minFresh !== undefined && left < minFresh * 1_000) return 'no'
  if (left > 0) return 'fresh'
  if (stored.neverStale) return 'no'
  if (-left < stored.staleWhileRevalidate) return 'revalidating'
  const maxStale = directives.get('max-stale')
  if (maxStale === true) return 'fresh'
  if (maxStale !== undefined && -left <= (seconds(directives, 'max-stale') ?? 0) * 1_000) return 'fresh'
  return 'no'
}

/** Whether a stored response may stand in for a failed answer (RFC 5861): only where it says so, be it fresh or stale. */
export function coversError(stored: StoredResponse, now: number): boolean {
  const { neverStale, alwaysValidate, staleIfError } = stored
  return !neverStale && !alwaysValidate && staleIfError > 0 && -freshFor(stored, now) < staleIfError
}
