import type { IncomingHttpHeaders } from 'node:http'
import { parseHttpDate } from './http-date.ts'

/** The validators of a response. */
export interface Validators {
  etag?: string | undefined
  lastModified?: string | undefined
  date?: string | undefined
}

/** True where the client has what is stored already (RFC 9110, 13.2.2 for GET and HEAD): a 304 is right. */
export function isNotModified(request: IncomingHttpHeaders, stored: Validators): boolean {
  const noneMatch = request['if-none-match']
  if (noneMatch !== undefined) {
    if (noneMatch.trim() === '*') return true
    if (stored.etag === undefined) return false
    const opaque = weaken(stored.etag)
    return listTags(noneMatch).some((tag) => weaken(tag) === opaque)
  }
  if (request['if-modified-since'] === undefined) return false
  const since = parseHttpDate(request['if-modified-since'])
  const modified = parseHttpDate(stored.lastModified ?? stored.date)
  return since !== undefined && modified !== undefined && modified <= since
}

/** The request headers that ask whether a stored response is still good; empty where it has no validator. */
export function validationHeaders(stored: Validators): IncomingHttpHeaders {
  const headers: IncomingHttpHeaders = {}
  if (stored.etag !== undefined) headers['if-none-match'] = stored.etag
  if (stored.lastModified !== undefined) headers['if-modified-since'] = stored.lastModified
  return headers
}

/** Weak comparison (RFC 9110, 8.8.3.2): the W/ does not count. */
function weaken(tag: string): string {
  return tag.trim().replace(/^W\//, '')
}

function listTags(value: string): string[] {
  return value.match(/(?:W\/)?"[^"]*"|[^\s,"]+/g) ?? []
}
