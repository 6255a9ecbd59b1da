/** Headers of a request, as Node gives them. */
export type RequestHeaders = Record<string, string | string[] | undefined>

/**
 * True where a request that a browser sends cookies with comes from this site, or can't change anything.
 *
 * Reading methods pass, except for a WebSocket handshake: it is a GET that opens a two-way door, and no browser holds
 * another site's page back from it. For the rest `Sec-Fetch-Site` decides where a browser sends it (W3C Fetch Metadata);
 * else `Origin` must be ours. A request with neither is refused.
 *
 * @param origins other origins (`https://app.example`) that may send requests with cookies
 */
export function isSameSite(headers: RequestHeaders, method: string, origins: readonly string[]): boolean {
  if (isReading(method) && headers['upgrade'] === undefined) return true
  const origin = single(headers['origin'])
  if (origin !== undefined && origins.includes(origin)) return true
  const site = single(headers['sec-fetch-site'])
  // `none`: the user's own doing, such as a bookmark or the address bar.
  if (site !== undefined) return site === 'same-origin' || site === 'none'
  return origin !== undefined && isOwnOrigin(origin, single(headers['host']))
}

function isReading(method: string): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS'
}

function isOwnOrigin(origin: string, host: string | undefined): boolean {
  if (host === undefined || !/^https?:\/\//.test(origin) || !URL.canParse(origin)) return false
  const url = new URL(origin)
  // `null`, a path or a user name are nothing that a browser sends here.
  return url.origin === origin && url.host === host.toLowerCase()
}

function single(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? undefined : value
}
