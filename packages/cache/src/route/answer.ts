import type { IncomingHttpHeaders } from 'node:http'
import type { Compressor } from '@fastify-scale/kit'
import { isNotModified } from './conditional.ts'
import { joinLines } from './directives.ts'
import { parseRange } from './range.ts'
import type { StoredResponse } from './stored.ts'

/** What is sent to the client. */
export interface Answer {
  status: number
  headers: Record<string, string | string[]>
  body: Buffer | undefined
}

/** Left out of a 304 (RFC 9110, 15.4.5). */
const NOT_IN_304 = new Set(['content-type', 'content-encoding', 'content-language', 'content-range', 'last-modified'])

/** The age of a stored response, in ms (RFC 9111, 4.2.3). */
export function ageOf(stored: StoredResponse, now: number): number {
  return Math.max(0, stored.age + now - stored.at)
}

/** How long a stored response is still fresh, in ms; negative where it is stale. */
export function freshFor(stored: StoredResponse, now: number): number {
  return stored.lifetime - ageOf(stored, now)
}

/** Makes the answer out of a stored response for this client: 200, 206, 304 or 416, in the coding it takes. */
export function answerFrom(
  stored: StoredResponse,
  method: string,
  client: IncomingHttpHeaders,
  compressor: Compressor | undefined,
  now: number,
): Answer {
  const headers: Answer['headers'] = { ...stored.headers, age: String(Math.floor(ageOf(stored, now) / 1_000)) }
  const { etag, 'last-modified': lastModified, date } = stored.headers as Record<string, string | undefined>
  const coding = chooseCoding(stored, client, compressor)
  if (compressor && Object.keys(stored.bodies).length > 1) headers['vary'] = withAcceptEncoding(headers['vary'])
  // The tag names the identity form; another form is equivalent, not identical.
  if (coding !== 'identity' && etag !== undefined && !etag.startsWith('W/')) headers['etag'] = `W/${etag}`
  if (stored.status === 200 && isNotModified(client, { etag, lastModified, date })) {
    for (const name of NOT_IN_304) if (name !== 'last-modified' || etag !== undefined) delete headers[name]
    return { status: 304, headers, body: undefined }
  }
  const whole = stored.bodies['identity'] as Buffer
  // Defined for GET alone (RFC 9110, 14.2).
  const range = method === 'GET' ? client.range : undefined
  if (range !== undefined && stored.status === 200 && client['if-range'] === undefined) {
    const bytes = parseRange(range, whole.length)
    if (bytes === 'unsatisfiable') {
      headers['content-range'] = `bytes */${whole.length}`
      return { status: 416, headers, body: Buffer.alloc(0) }
    }
    if (bytes) {
      headers['content-range'] = `bytes ${bytes.from}-${bytes.to}/${whole.length}`
      return {
        status: 206,
        headers: { ...headers, ...(etag && { etag }) },
        body: whole.subarray(bytes.from, bytes.to + 1),
      }
    }
  }
  if (coding !== 'identity') headers['content-encoding'] = coding
  return { status: stored.status, headers, body: stored.bodies[coding] }
}

function chooseCoding(stored: StoredResponse, client: IncomingHttpHeaders, compressor: Compressor | undefined): string {
  if (!compressor || client.range !== undefined) return 'identity'
  const available = Object.keys(stored.bodies).filter((coding) => coding !== 'identity')
  if (available.length === 0) return 'identity'
  // Where nothing that is there suits, identity is better than a 406.
  return compressor.negotiate(joinLines(client['accept-encoding']), available) ?? 'identity'
}

function withAcceptEncoding(vary: string | string[] | undefined): string {
  const text = joinLines(vary)
  if (text === undefined) return 'Accept-Encoding'
  return /(^|,)\s*accept-encoding\s*(,|$)/i.test(text) ? text : `${text}, Accept-Encoding`
}
