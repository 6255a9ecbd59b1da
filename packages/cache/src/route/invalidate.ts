import type { FastifyReply, FastifyRequest } from 'fastify'
import { joinLines } from './directives.ts'
import { anyQueryTagOf, urlOf, urlTagOf } from './target.ts'

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PROPFIND', 'SEARCH', 'REPORT'])

/** True for methods that change nothing (RFC 9110, 9.2.1). */
export function isSafe(method: string): boolean {
  return SAFE.has(method)
}

/**
 * The tags of what a successful unsafe request makes invalid (RFC 9111, 4.4): its URL, and those in Location and
 * Content-Location on the same host.
 */
export function invalidatedBy(request: FastifyRequest, reply: FastifyReply): string[] {
  const { statusCode } = reply
  if (isSafe(request.method) || statusCode < 200 || statusCode >= 400) return []
  const urls = new Set([urlOf(request)])
  for (const name of ['location', 'content-location']) {
    const value = joinLines(reply.getHeader(name))
    if (value === undefined) continue
    const base = `http://${request.host}${request.url}`
    if (!URL.canParse(value, base)) continue
    const url = new URL(value, base)
    if (url.host === new URL(base).host) urls.add(`${request.host}${url.pathname}${url.search}`)
  }
  return [...new Set([...urls].flatMap((url) => [urlTagOf(url), anyQueryTagOf(url)]))]
}
