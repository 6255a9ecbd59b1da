import type { HeaderValue } from './directives.ts'
import type { StoredResponse } from './stored.ts'

/** Fields about the stored bytes: a 304 has no say in them (RFC 9111, 3.2). */
const KEPT = new Set(['content-encoding', 'content-length', 'content-md5', 'content-range', 'etag'])

/** The headers of a stored response after a 304: its fields, replaced by those that the 304 brings. */
export function freshenHeaders(
  stored: StoredResponse,
  arrived: Record<string, HeaderValue>,
): Record<string, HeaderValue> {
  const headers: Record<string, HeaderValue> = { ...stored.headers }
  for (const [name, value] of Object.entries(arrived)) if (!KEPT.has(name)) headers[name] = value
  return headers
}
