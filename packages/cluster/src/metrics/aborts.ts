import type { ServerResponse } from 'node:http'
import type { Server, Socket } from 'node:net'
import { Server as TlsServer } from 'node:tls'

interface HttpSocket extends Socket {
  /** The response that is being sent; Node takes it away when it has been handed to the system in full. */
  _httpMessage?: ServerResponse | null
}

/**
 * Counts requests whose connection ended before they were answered in full: by the client, a time limit, or a cut at the
 * drain deadline. Looked at once for each connection, when it is closed: requests that are answered pay nothing. Of those
 * pipelined on one connection the first counts. Over HTTP/2, streams that were aborted.
 */
export function countAborts(server: Server): { count(): number; stop(): void } {
  let aborted = 0

  function onClose(this: HttpSocket): void {
    if (this._httpMessage) aborted++
  }
  const onConnection = (socket: Socket): void => void socket.on('close', onClose)
  const onAborted = (): void => void aborted++
  const onStream = (stream: { once(event: 'aborted', listener: () => void): void }): void =>
    stream.once('aborted', onAborted)

  // Where the app does TLS itself the requests are those of the connection inside.
  const event = server instanceof TlsServer ? 'secureConnection' : 'connection'
  server.on(event, onConnection)
  server.on('stream', onStream)
  return {
    count: () => aborted,
    stop() {
      server.off(event, onConnection)
      server.off('stream', onStream)
    },
  }
}
