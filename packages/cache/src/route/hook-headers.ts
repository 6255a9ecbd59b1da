import type { FastifyReply } from 'fastify'
import type { HeaderValue } from './directives.ts'
import { varyNames } from './selection.ts'
import type { RouteSession } from './session.ts'

/** The headers that a reply has, those of several values as they are now: more are pushed into the same array. */
export function standingHeaders(reply: FastifyReply): RouteSession['before'] {
  const headers: RouteSession['before'] = { ...reply.getHeaders() }
  for (const name in headers) if (Array.isArray(headers[name])) headers[name] = [...headers[name]]
  return headers
}

/** The reply's headers without those that hooks had set before the handler, and that they set on every answer. */
export function ownHeaders(reply: FastifyReply, session: RouteSession): Record<string, HeaderValue> {
  const headers: Record<string, HeaderValue> = {}
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    const before = session.before[name]
    if (Array.isArray(value)) {
      const more = value.filter((one) => before === undefined || ![before].flat().includes(one))
      if (more.length > 0) headers[name] = more
    } else if (before !== value) headers[name] = value
  }
  return headers
}

/**
 * What the response varies by, also where a hook says so. But for `Origin`, where a hook says that alone: what CORS makes of it
 * are headers that it sets on every answer.
 */
export function variesBy(reply: FastifyReply, { before }: RouteSession): string[] {
  const value = reply.getHeader('vary') as HeaderValue
  const names = varyNames(value)
  return value === before['vary'] ? names.filter((name) => name !== 'origin') : names
}

/** What hooks say about caching counts as what the handler says does; but for their cookies, which are not stored. */
export function headersToJudge(reply: FastifyReply, own: Record<string, HeaderValue>): Record<string, HeaderValue> {
  return { ...reply.getHeaders(), 'set-cookie': own['set-cookie'], ...own }
}
