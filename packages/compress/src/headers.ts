/** The header field value `Vary` with `Accept-Encoding` in it; `undefined` where it was there already, or is `*`. */
export function withVary(vary: string | number | string[] | undefined): string | undefined {
  if (vary === undefined || vary === '') return 'Accept-Encoding'
  const text = Array.isArray(vary) ? vary.join(', ') : String(vary)
  const fields = text.split(',').map((field) => field.trim().toLowerCase())
  return fields.includes('accept-encoding') || fields.includes('*') ? undefined : `${text}, Accept-Encoding`
}

/**
 * A strong ETag names these very bytes; encoded ones are others, so it becomes weak (RFC 9110, 8.8.3.3).
 * `undefined` where it is weak already or not an ETag.
 */
export function weakened(etag: string | number | string[] | undefined): string | undefined {
  return typeof etag === 'string' && etag.startsWith('"') ? `W/${etag}` : undefined
}

/** True where `Cache-Control` forbids to transform the content (RFC 9111, 5.2.2.6). */
export function isNoTransform(cacheControl: string | number | string[] | undefined): boolean {
  if (cacheControl === undefined) return false
  return /(?:^|[\s,])no-transform(?:$|[\s,])/i.test(String(cacheControl))
}
