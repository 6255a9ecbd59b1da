import { AuthArgumentError } from './errors.ts'

/** How the cookies are called and where they go. */
export interface CookieSettings {
  /** Name of the access token's cookie; `__Host-` ties it to this host, https and the whole path. */
  accessName: string
  /** Name of the refresh token's cookie. */
  refreshName: string
  /** Path of the route that refreshes: no other request carries that token. */
  refreshPath: string
  sameSite: 'Strict' | 'Lax' | 'None'
}

/** Browsers store no cookie whose name and value are longer together (RFC 6265bis, 5.6), and say nothing. */
const MAX_COOKIE_BYTES = 4_096

/** Longest value, in characters, that browsers store under the name. */
export function maxCookieValue(name: string): number {
  return MAX_COOKIE_BYTES - name.length
}

/**
 * The value of `Set-Cookie` (RFC 6265bis, 4.1). Names and values are of our own making and need no escaping.
 *
 * @throws SCALE_AUTH_ARGUMENT where no browser would store it
 */
export function serializeCookie(
  name: string,
  value: string,
  attributes: { path: string; sameSite: CookieSettings['sameSite']; maxAge: number },
): string {
  const { path, sameSite, maxAge } = attributes
  if (value.length > maxCookieValue(name))
    throw new AuthArgumentError(
      `the cookie '${name}' would have ${name.length + value.length} bytes and no browser stores more than ${MAX_COOKIE_BYTES}: put less into the claims`,
    )
  return `${name}=${value}; Path=${path}; Max-Age=${maxAge}; HttpOnly; Secure; SameSite=${sameSite}`
}

/** The `Set-Cookie` values for a login or a refresh. Times in ms. */
export function tokenCookies(
  settings: CookieSettings,
  tokens: { accessToken: string; accessTtl: number; refreshToken?: string; refreshTtl?: number },
): string[] {
  const { accessName, refreshName, refreshPath, sameSite } = settings
  const cookies = [
    serializeCookie(accessName, tokens.accessToken, {
      path: '/',
      sameSite,
      maxAge: Math.floor(tokens.accessTtl / 1_000),
    }),
  ]
  if (tokens.refreshToken !== undefined)
    cookies.push(
      serializeCookie(refreshName, tokens.refreshToken, {
        path: refreshPath,
        sameSite: sameSite === 'None' ? 'None' : 'Strict',
        maxAge: Math.floor((tokens.refreshTtl ?? 0) / 1_000),
      }),
    )
  return cookies
}

/** The `Set-Cookie` values that remove both cookies. */
export function clearedCookies(settings: CookieSettings): string[] {
  return tokenCookies(settings, { accessToken: '', accessTtl: 0, refreshToken: '', refreshTtl: 0 })
}

/**
 * All values that a Cookie header has for a name: more than one means that somebody else, such as a sibling domain, set
 * one too, and nobody can tell which is ours.
 */
export function readCookie(header: string | undefined, name: string): string[] {
  if (header === undefined || !header.includes(name)) return []
  const values: string[] = []
  for (const pair of header.split(';')) {
    const at = pair.indexOf('=')
    if (at < 0 || pair.slice(0, at).trim() !== name) continue
    const value = pair.slice(at + 1).trim()
    values.push(value.startsWith('"') && value.endsWith('"') && value.length > 1 ? value.slice(1, -1) : value)
  }
  return values
}
