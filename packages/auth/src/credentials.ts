import { type CookieSettings, readCookie } from './cookies.ts'
import { type RequestHeaders, isSameSite } from './csrf.ts'
import { CredentialsMalformedError, CrossSiteError } from './errors.ts'

export interface CredentialsOptions {
  /** Undefined: cookies are off. */
  cookies: CookieSettings | undefined
  /** See `isSameSite`. */
  origins: readonly string[]
  /** True for a token that was verified before, and so needs no look at its form. */
  holds: (token: string) => boolean
}

/** RFC 6750, 2.1: `Bearer`, one space or more, one b64token. */
const BEARER = /^bearer(?: +|$)/i
const B64_TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/

/**
 * Finds the access token of a request: the Authorization header first, then the cookie. A bad header is an error even
 * where a good cookie stands beside it; a header of another scheme (Basic, for a proxy) is not ours and is left alone.
 *
 * @throws SCALE_AUTH_CREDENTIALS_MALFORMED, SCALE_AUTH_CROSS_SITE
 */
export function findToken(headers: RequestHeaders, method: string, options: CredentialsOptions): string | undefined {
  const authorization: unknown = headers['authorization']
  if (authorization !== undefined) {
    if (typeof authorization !== 'string') throw new CredentialsMalformedError()
    const scheme = BEARER.exec(authorization)
    if (scheme) {
      const token = authorization.slice(scheme[0].length)
      if (!options.holds(token) && !B64_TOKEN.test(token)) throw new CredentialsMalformedError()
      return token
    }
  }
  return options.cookies && findCookie(options.cookies.accessName, headers, method, options.origins)
}

/** Finds one of our cookies and makes sure that this site sent it. */
export function findCookie(
  name: string,
  headers: RequestHeaders,
  method: string,
  origins: readonly string[],
): string | undefined {
  const header: unknown = headers['cookie']
  const values = readCookie(Array.isArray(header) ? header.join('; ') : (header as string | undefined), name)
  if (values.length > 1) throw new CredentialsMalformedError(`The request has the cookie '${name}' more than once`)
  const [value] = values
  if (!value) return undefined
  if (!isSameSite(headers, method, origins)) throw new CrossSiteError()
  return value
}
