import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Server, Socket } from 'node:net'

/** What Node keeps on a connection of an HTTP server, and does not document. */
export interface RequestSocket extends Socket {
  /** The response that is being sent; those of requests pipelined behind it wait in a queue of Node's own. */
  _httpMessage?: ServerResponse | null
  /** `incoming`: the request that was parsed last. Null once upgraded. */
  parser?: { incoming?: IncomingMessage | null } | null
}

/** A client that always has one more request under way would never be told. */
const MOST_LATE = 32

/**
 * From now on connections end with their last response: it says `Connection: close`, where its headers are not out yet.
 * Every request that was read before that is answered, the pipelined ones too (RFC 9112, 9.3.2); after it nothing more is
 * read into the app (9.6), so that a client may send again, anywhere, what it has no answer to.
 * `spared`: connections that are about to be handed over stay as they are.
 */
export function sayClose(
  server: Server,
  sockets: Iterable<RequestSocket>,
  spared: { has(socket: Socket): boolean } = new Set(),
): void {
  // Those that say close because of us, and only them: others have their own reasons.
  const last = new WeakMap<Socket, ServerResponse>()
  /** How many came behind one that had been made to say close. */
  const late = new WeakMap<Socket, number>()

  function say(socket: Socket, response: ServerResponse): void {
    if (!response.shouldKeepAlive) return
    response.shouldKeepAlive = false
    last.set(socket, response)
  }

  /** Of what is in flight on this connection the last one says it. */
  function sayLast(socket: RequestSocket): void {
    const { _httpMessage: response, parser } = socket
    if (!response) return
    if (parser?.incoming && parser.incoming !== response.req) response.once('finish', () => sayLast(socket))
    else if (!response.headersSent) say(socket, response)
  }
  for (const socket of sockets) sayLast(socket)

  /** False where the connection has already been told that it ends. */
  function admit(request: IncomingMessage, response: ServerResponse): boolean {
    const { socket } = request
    if (spared.has(socket)) return true
    const before = last.get(socket)
    if (before) {
      const more = (late.get(socket) ?? 0) + 1
      if (more > MOST_LATE || (before.headersSent && !before.shouldKeepAlive)) return false
      late.set(socket, more)
      before.shouldKeepAlive = true
    }
    say(socket, response)
    return true
  }

  const listeners = server.rawListeners('request')
  server.removeAllListeners('request')
  server.on('request', function scaleSayClose(this: Server, request: IncomingMessage, response: ServerResponse) {
    // HTTP/2 has its GOAWAY.
    if (response instanceof ServerResponse && !admit(request, response)) return
    for (const listener of listeners) listener.call(this, request, response)
  })
}
