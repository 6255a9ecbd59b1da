import { fileTypeFromBuffer } from 'file-type'

/** How many of the first bytes are looked at; what file-type asks for. */
export const SNIFF_BYTES = 4_100

export interface SniffedType {
  /** Media type without parameters. */
  contentType: string
  /** Without the dot; empty where the type says nothing. */
  ext: string
}

const UNKNOWN: SniffedType = { contentType: 'application/octet-stream', ext: 'bin' }

/** Text formats without a signature: what the client says is taken, because none of them runs in a browser. */
const INERT_TEXT: Record<string, string> = {
  'text/plain': 'txt',
  'text/csv': 'csv',
  'text/markdown': 'md',
  'text/tab-separated-values': 'tsv',
  'text/calendar': 'ics',
  'text/vtt': 'vtt',
  'application/json': 'json',
  'application/x-ndjson': 'ndjson',
}

/** What runs or renders as a page when a browser is led to it: served as a download, never inline. */
const ACTIVE = new Set([
  'text/html',
  'application/xhtml+xml',
  'image/svg+xml',
  'text/xml',
  'application/xml',
  'text/javascript',
  'application/javascript',
  'application/x-shockwave-flash',
])

/**
 * Tells the type of a file from its first bytes. The client's word counts only among text formats that can't run;
 * its file name never counts.
 *
 * @param head the first 4,100 bytes, or the whole file where it is shorter
 * @param declared the Content-Type that the client gave
 */
export async function sniff(head: Buffer, declared?: string): Promise<SniffedType> {
  if (head.length === 0) return UNKNOWN
  const found = await fileTypeFromBuffer(head)
  // file-type knows XML only by its declaration; SVG and XHTML hide behind it.
  if (found && found.mime !== 'application/xml') return { contentType: found.mime, ext: found.ext }
  if (!isText(head)) return found ? { contentType: found.mime, ext: found.ext } : UNKNOWN
  const text = head.toString('utf8').replace(/^\uFEFF/, '')
  const markup = sniffMarkup(text)
  if (markup) return markup
  const type = declared?.split(';', 1)[0]?.trim().toLowerCase() ?? ''
  const ext = INERT_TEXT[type]
  return ext ? { contentType: type, ext } : { contentType: 'text/plain', ext: 'txt' }
}

/** True where a browser must not show it inline from the storage's origin. */
export function isActive(contentType: string): boolean {
  return ACTIVE.has(contentType)
}

/**
 * Whether a type is allowed: `image/png` names one, `image/*` all of a kind, `*` any. SVG is a document that runs scripts:
 * `image/*` does not mean it, only its own name does.
 */
export function isAllowed(contentType: string, allowed: readonly string[]): boolean {
  return allowed.some((pattern) => {
    if (pattern === '*' || pattern === '*/*' || pattern === contentType) return true
    if (!pattern.endsWith('/*') || contentType === 'image/svg+xml') return false
    return contentType.startsWith(pattern.slice(0, -1))
  })
}

/** UTF-8 without control characters; a character cut off at the end of the sample does not count against it. */
function isText(head: Buffer): boolean {
  for (const byte of head) if (byte < 9 || (byte > 13 && byte < 32 && byte !== 27)) return false
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(head, { stream: true })
    return true
  } catch {
    return false
  }
}

/** As browsers do (WHATWG MIME Sniffing), markup is told by how a text begins. */
function sniffMarkup(text: string): SniffedType | undefined {
  const body = text.replace(/<!--[\s\S]*?(-->|$)/g, '').trimStart()
  if (!body.startsWith('<')) return undefined
  if (/^(<\?xml|<!doctype|<[\w-]*:?svg[\s>/])/i.test(body) && /<([\w-]+:)?svg[\s>/]/i.test(body))
    return { contentType: 'image/svg+xml', ext: 'svg' }
  if (HTML.test(body) || /<([\w-]+:)?html[\s>/]/i.test(body)) return { contentType: 'text/html', ext: 'html' }
  return /^<[?!a-z]/i.test(body) ? { contentType: 'application/xml', ext: 'xml' } : undefined
}

const HTML =
  /^<(!doctype\s+html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|img|form|meta|link|svg|object|embed)[\s>/]/i
