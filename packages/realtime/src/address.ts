import type { IncomingMessage } from 'node:http'

/** Where a request comes from, as Fastify sees it: `trustProxy` holds. */
export interface RequestOrigin {
  /** The client's address: `request.ip`. */
  address: string
  /** The name and port that the client asked for: `request.host`. */
  host: string
}

/**
 * Reads address and host of a raw request as Fastify would. An upgrade never becomes a Fastify request, so the getters of
 * this server's own request class, which know its `trustProxy`, are borrowed.
 */
export function createOriginReader(fastify: object): (request: IncomingMessage) => RequestOrigin {
  const symbol = Object.getOwnPropertySymbols(fastify).find(({ description }) => description === 'fastify.Request')
  const requestClass = symbol && (fastify as Record<symbol, { prototype?: object } | undefined>)[symbol]
  const prototype = requestClass?.prototype
  return (raw) => {
    const plain = { address: raw.socket.remoteAddress ?? '', host: raw.headers.host ?? '' }
    if (!prototype) return plain
    const request = Object.create(prototype, { raw: { value: raw } }) as { ip?: string; host?: string }
    return { address: request.ip ?? plain.address, host: request.host ?? plain.host }
  }
}
