import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'

/**
 * Gives connections that another worker kept alive the time of an idle connection: to Node they are new, and one whose
 * headers do not come is answered 408 into the silence. Their first request ends the special treatment.
 */
export function createKeptAlive(server: Server): (socket: Socket) => void {
  const waiting = new Set<Socket>()

  // Only there while it is needed: requests of other connections pay nothing.
  function onRequest({ socket }: IncomingMessage): void {
    if (waiting.has(socket)) socket.setTimeout(server.timeout)
    forget(socket)
  }

  function forget(socket: Socket): void {
    waiting.delete(socket)
    if (waiting.size === 0) server.off('request', onRequest)
  }

  return (socket) => {
    const { keepAliveTimeout, headersTimeout } = server
    if (!keepAliveTimeout) return
    // As long as Node would wait itself, and in any case no longer than until it would say 408.
    const time = keepAliveTimeout + 1_000
    socket.setTimeout(headersTimeout > 0 ? Math.min(time, Math.max(1_000, headersTimeout - 1_000)) : time)
    if (waiting.size === 0) server.prependListener('request', onRequest)
    waiting.add(socket)
    socket.once('close', () => forget(socket))
  }
}
