import CachePolicy from 'http-cache-semantics'
import { type Directives, type HeaderValue, joinLines, parseDirectives, parseTargeted, seconds } from './directives.ts'
import { parseHttpDate } from './http-date.ts'

/** A response as far as caching is concerned. Names of headers in lower case. */
export interface ResponseFacts {
  status: number
  headers: Record<string, HeaderValue>
  /** The request was authenticated, by whatever means. */
  authenticated: boolean
  /** What is stored is one user's own. */
  own: boolean
}

/** What the route says for responses that do not. Times in ms. */
export interface RouteDefaults {
  ttl: number | undefined
  staleWhileRevalidate: number
  staleIfError: number
}

/** How a response may be stored and used. Times in ms. */
export interface Storable {
  store: true
  /** Freshness lifetime (RFC 9111, 4.2.1). */
  lifetime: number
  /** The lifetime is the route's or the heuristic's, not the response's. */
  implied: boolean
  /** Age when it arrived (4.2.3). */
  age: number
  staleWhileRevalidate: number
  staleIfError: number
  /** Not to be used without asking, however fresh (no-cache). */
  alwaysValidate: boolean
  /** Never to be used stale (must-revalidate, proxy-revalidate, s-maxage). */
  neverStale: boolean
  /** May be given to authenticated requests too (3.5). */
  shared: boolean
  /** Fields not to be stored: hop by hop, or named by Connection, no-cache, private. */
  without: ReadonlySet<string>
}

/** Statuses that may be cached without being told for how long (RFC 9110, 15.1). */
const HEURISTIC = new Set([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])
/** Those and the others that this cache understands, for must-understand. */
const UNDERSTOOD = new Set([...HEURISTIC, 302, 303, 307, 400, 403, 451, 500, 502, 503, 504])

const NEVER_STORED = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
  'age',
  'cache-status',
  'content-length',
]

/**
 * Decides whether a response may be stored, and for how long it is fresh: http-cache-semantics, given the response in a
 * canonical form, and corrected in what it does not know (qualified directives, targeted fields, extended statuses).
 */
export function judgeResponse(
  facts: ResponseFacts,
  defaults: RouteDefaults,
  now: number,
): Storable | { store: false; reason: string } {
  const { status, headers, own } = facts
  const refuse = (reason: string): { store: false; reason: string } => ({ store: false, reason })
  if (status === 206 || status === 304 || status < 200) return refuse(`status ${status}`)
  const targeted = parseTargeted(headers['cdn-cache-control'])
  const directives = targeted ?? parseDirectives(headers['cache-control'])
  const vary = joinLines(headers['vary'])
  if (vary?.split(',').some((name) => name.trim() === '*')) return refuse('vary *')

  if (directives.has('must-understand')) {
    if (!UNDERSTOOD.has(status)) return refuse('must-understand')
    directives.delete('no-store')
  }
  const without = new Set(NEVER_STORED)
  for (const name of joinLines(headers['connection'])?.split(',') ?? []) without.add(name.trim().toLowerCase())
  for (const name of ['no-cache', 'private']) {
    // With an argument they speak of the named fields only.
    const fields = directives.get(name)
    if (typeof fields !== 'string') continue
    for (const field of fields.split(',')) without.add(field.trim().toLowerCase())
    directives.delete(name)
  }
  if (own) directives.delete('private')
  const shared = directives.has('public') || directives.has('s-maxage') || directives.has('must-revalidate')
  const setsCookie = headers['set-cookie'] !== undefined && !without.has('set-cookie')
  if (setsCookie && !own && !directives.has('public') && !directives.has('s-maxage')) return refuse('set-cookie')

  const explicit = isExplicit(directives, targeted === undefined ? headers['expires'] : undefined)
  const silent = !explicit && !directives.has('no-cache') && !directives.has('no-store')
  if (silent && defaults.ttl !== undefined && HEURISTIC.has(status))
    directives.set('s-maxage', String(defaults.ttl / 1_000))
  const policy = new CachePolicy(
    { method: 'GET', url: '/', headers: facts.authenticated && !own ? { authorization: 'x' } : {} },
    {
      // A status with an explicit lifetime may be stored whether it is known or not (RFC 9111, 3).
      status: explicit || directives.has('public') ? 200 : status,
      headers: canonical(headers, directives, targeted !== undefined, setsCookie),
    },
    { shared: true, immutableMinTimeToLive: 0 },
  )
  const byRoute = silent && defaults.ttl !== undefined && HEURISTIC.has(status)
  // The route's own ttl does not open what needs the handler's word.
  if (byRoute && facts.authenticated && !own && !shared) return refuse('authenticated')
  if (!policy.storable()) return refuse(reasonOf(directives, facts))
  const lifetime = byRoute ? (defaults.ttl as number) : policy.maxAge() * 1_000
  const neverStale =
    directives.has('must-revalidate') ||
    directives.has('proxy-revalidate') ||
    (directives.has('s-maxage') && !byRoute) ||
    directives.has('no-cache')
  const stale = (name: string, fallback: number): number => {
    if (neverStale) return 0
    const given = seconds(directives, name)
    return given === undefined ? fallback : given * 1_000
  }
  return {
    store: true,
    lifetime,
    implied: !explicit,
    age: initialAge(headers, now),
    staleWhileRevalidate: stale('stale-while-revalidate', defaults.staleWhileRevalidate),
    staleIfError: stale('stale-if-error', defaults.staleIfError),
    alwaysValidate: directives.has('no-cache'),
    neverStale,
    shared,
    without,
  }
}

function isExplicit(directives: Directives, expires: HeaderValue): boolean {
  return directives.has('s-maxage') || directives.has('max-age') || expires !== undefined
}

/** The headers in the form that http-cache-semantics reads without mistake: plain names, whole seconds, single dates. */
function canonical(
  headers: Record<string, HeaderValue>,
  directives: Directives,
  targeted: boolean,
  setsCookie: boolean,
): Record<string, string> {
  const plain: string[] = []
  for (const [name, value] of directives) {
    // Read by it as "never fresh"; it says the same as must-revalidate, which is dealt with when the response is used.
    if (name === 'proxy-revalidate') continue
    if (name === 'max-age' || name === 's-maxage') {
      const age =
        name === 's-maxage' && typeof value === 'string' && /^\d+\.\d+$/.test(value) ? value : seconds(directives, name)
      plain.push(`${name}=${age}`)
    } else if (/^(no-store|no-cache|private|public|must-revalidate|immutable)$/.test(name)) plain.push(name)
  }
  const result: Record<string, string> = {}
  if (plain.length > 0) result['cache-control'] = plain.join(', ')
  const copyDate = (name: string): boolean => {
    const value = headers[name]
    const date = typeof value === 'string' ? parseHttpDate(value) : undefined
    if (date !== undefined) result[name] = new Date(date).toUTCString()
    return date !== undefined
  }
  copyDate('date')
  copyDate('last-modified')
  if (!targeted) {
    // A date that is none, or two of them, is a time in the past (RFC 9111, 5.3).
    if (headers['expires'] !== undefined && !copyDate('expires')) result['expires'] = '0'
    const pragma = joinLines(headers['pragma'])
    if (pragma !== undefined) result['pragma'] = pragma
  }
  if (setsCookie) result['set-cookie'] = 'x'
  return result
}

/** Age on arrival in ms: the first member of Age if it is a number (RFC 9111, 5.1), or what Date tells if that is more. */
function initialAge(headers: Record<string, HeaderValue>, now: number): number {
  const first = joinLines(headers['age'])?.split(',')[0]?.trim()
  const told = first !== undefined && /^\d+$/.test(first) ? Number(first) * 1_000 : 0
  const date = parseHttpDate(joinLines(headers['date']))
  return Math.max(told, date === undefined ? 0 : now - date, 0)
}

function reasonOf(directives: Directives, facts: ResponseFacts): string {
  for (const name of ['no-store', 'private']) if (directives.has(name)) return name
  return facts.authenticated && !facts.own ? 'authenticated' : `status ${facts.status}`
}
