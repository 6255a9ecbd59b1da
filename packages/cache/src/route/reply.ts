import type { FastifyReply } from 'fastify'

/** Our name in Cache-Status (RFC 9211). */
export const NAME = 'fastify-scale'

/** Adds our member to Cache-Status, after those of caches nearer to the origin. */
export function setStatus(reply: FastifyReply, ours: string): void {
  const before = reply.getHeader('cache-status')
  reply.header('cache-status', before === undefined ? ours : `${String(before)}, ${ours}`)
}

export function setHeaders(reply: FastifyReply, headers: Record<string, string | string[]>): void {
  for (const name in headers) {
    if (name === 'vary') {
      const before = reply.getHeader('vary')
      if (before !== undefined) {
        reply.header('vary', mergeVary(String(before), String(headers[name])))
        continue
      }
    }
    reply.header(name, headers[name])
  }
}

function mergeVary(one: string, other: string): string {
  const names = new Map<string, string>()
  for (const name of `${one},${other}`.split(','))
    if (name.trim() !== '') names.set(name.trim().toLowerCase(), name.trim())
  return [...names.values()].join(', ')
}
