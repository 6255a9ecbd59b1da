/** Bytes in which a header must have come; what Node itself takes for a whole head. */
export const MAX_HEAD = 16_384

/** What the beginning of a connection says: the header's value, that there is none, or nothing yet. */
export type HeadResult = { value: string } | 'none' | 'more'

/**
 * Looks for a header in the first bytes of a connection. Only lines that have come in full count. `'none'` where it can't
 * come any more: the head ends without it, it is too long, or this is not HTTP/1 (TLS, HTTP/2).
 */
export function findHeader(bytes: Buffer, name: string): HeadResult {
  // A method, or an empty line ahead of it (RFC 9112, 2.2). TLS begins with 0x16.
  if (bytes.length > 0 && !/^[A-Za-z\r\n]/.test(String.fromCharCode(bytes[0] as number))) return 'none'
  const text = bytes.toString('latin1', 0, MAX_HEAD)
  let start = text.startsWith('\r\n') ? 2 : 0
  for (let first = true; ; first = false) {
    const end = text.indexOf('\r\n', start)
    if (end < 0) return bytes.length >= MAX_HEAD ? 'none' : 'more'
    if (end === start) return 'none'
    if (!first) {
      const line = text.slice(start, end)
      const colon = line.indexOf(':')
      if (colon > 0 && line.slice(0, colon).toLowerCase() === name) {
        const value = line.slice(colon + 1).trim()
        return value === '' ? 'none' : { value }
      }
    }
    start = end + 2
  }
}
