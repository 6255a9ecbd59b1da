/**
 * Types whose bodies are text in one way or another, as browsers and CDNs compress them. Images, video, archives, woff
 * and octet-stream are compressed already or unknown, and left alone.
 */
const SUBTYPES = new Set([
  'application/ecmascript',
  'application/eot',
  'application/geo+json-seq',
  'application/graphql',
  'application/javascript',
  'application/json',
  'application/json-seq',
  'application/jsonl',
  'application/jsonlines',
  'application/ndjson',
  'application/rtf',
  'application/sql',
  'application/toml',
  'application/vnd.ms-fontobject',
  'application/wasm',
  'application/x-httpd-cgi',
  'application/x-javascript',
  'application/x-ndjson',
  'application/x-sh',
  'application/x-www-form-urlencoded',
  'application/x-yaml',
  'application/xml',
  'application/xml-dtd',
  'application/yaml',
  'font/otf',
  'font/ttf',
  'image/bmp',
  'image/svg+xml',
  'image/vnd.microsoft.icon',
  'image/x-icon',
])

/** True where bodies of this content type are worth compressing. Parameters and case do not matter. */
export function isCompressible(contentType: string | undefined): boolean {
  if (!contentType) return false
  const end = contentType.indexOf(';')
  const type = (end < 0 ? contentType : contentType.slice(0, end)).trim().toLowerCase()
  return type.startsWith('text/') || SUBTYPES.has(type) || /\+(?:json|xml|text|yaml)$/.test(type)
}
