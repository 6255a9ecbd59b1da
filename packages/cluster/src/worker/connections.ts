import { Server as HttpServer } from 'node:http'
import type { Server } from 'node:net'
import type { NativeHandle } from '../primary/listener.ts'
import { type RequestSocket, sayClose } from './say-close.ts'

interface SocketHandle extends NativeHandle {
  readStop?(): number
  writeQueueSize?: number
  reading?: boolean
}
type MovableHandle = SocketHandle & { readStop(): number }

interface HttpSocket extends RequestSocket {
  _handle?: SocketHandle | null
}

/** The connections of one server: who is idle, who is busy, and how one leaves this process alive. */
export interface Connections {
  readonly size: number
  /** Connections that were upgraded (websockets). */
  upgraded(): number
  /** Connections without a request, upgraded ones excepted. */
  idle(): number
  /**
   * From now on connections end with their last response (see say-close.ts), HTTP/2 sessions when their streams do.
   * `spareIdle`: not those that have no request now; they are about to be handed over, until `spareNone()`.
   */
  sayClose(spareIdle?: boolean): void
  spareNone(): void
  /**
   * Takes connections that can be served elsewhere out of this process: plain HTTP/1.1, no request begun, nothing read
   * since the last one, nothing left to write. The server forgets them; the caller closes the handles after sending them.
   * `most`: how many at most; all by default.
   */
  detachIdle(most?: number): NativeHandle[]
  /** Closes connections without a request. */
  closeIdle(): void
  destroyAll(): void
  /** Calls back when the last connection is gone; at once where there is none. */
  whenEmpty(listener: () => void): void
}

export function trackConnections(server: Server): Connections {
  const sockets = new Set<HttpSocket>()
  // Where the app does TLS itself, requests and responses are known of these, not of the connections below.
  const secure = new Set<HttpSocket>()
  /** Left as they are when others are told that they end. */
  const spared = new Set<object>()
  const sessions = new Set<{ close(): void }>()
  const emptied: (() => void)[] = []
  const plain = server instanceof HttpServer

  // One function for all connections, not a closure for each.
  function forget(this: HttpSocket): void {
    sockets.delete(this)
    spared.delete(this)
    if (sockets.size === 0) for (const listener of emptied.splice(0)) listener()
  }
  server.on('connection', function scaleTrack(socket: HttpSocket) {
    sockets.add(socket)
    socket.on('close', forget)
  })
  server.on('secureConnection', function scaleTrackSecure(socket: HttpSocket) {
    secure.add(socket)
    socket.on('close', () => secure.delete(socket))
  })
  server.on(
    'session',
    function scaleTrackSession(session: { close(): void; once(event: 'close', f: () => void): void }) {
      sessions.add(session)
      session.once('close', () => sessions.delete(session))
    },
  )

  /**
   * Those that Node itself would close as idle: its list of connections knows whether a request has begun to arrive,
   * which nothing public tells. So it is asked to close them, and for this one call destroying only takes a note.
   */
  function idleByNode(): Set<HttpSocket> {
    const idle = new Set<HttpSocket>()
    for (const socket of sockets) {
      socket.destroy = function note() {
        idle.add(socket)
        return socket
      }
    }
    try {
      ;(server as HttpServer).closeIdleConnections?.()
    } finally {
      for (const socket of sockets) delete (socket as Partial<HttpSocket>).destroy
    }
    return idle
  }

  /** Nothing was ever read from it: for Node its first request has begun with the connection, for us it has not. */
  const fresh = ({ bytesRead, _httpMessage, _handle }: HttpSocket): boolean =>
    bytesRead === 0 && !_httpMessage && !_handle?.readAhead

  /**
   * Open in both directions and nothing under way. One whose end has begun (its last response said `Connection: close`)
   * looks idle until the kernel was told: taken out then, its client would wait for that end for ever.
   */
  function untouched(socket: HttpSocket): boolean {
    const { destroyed, writableEnded, readableEnded, readableLength, writableLength, _httpMessage, _handle } = socket
    if (destroyed || writableEnded || readableEnded || _httpMessage) return false
    return readableLength === 0 && writableLength === 0 && !_handle?.writeQueueSize
  }

  function movable(): { socket: HttpSocket; handle: MovableHandle }[] {
    if (!plain) return []
    const idle = idleByNode()
    const found: { socket: HttpSocket; handle: MovableHandle }[] = []
    for (const socket of sockets) {
      const handle = socket._handle
      if (handle?.readStop && (idle.has(socket) || fresh(socket)) && untouched(socket))
        found.push({ socket, handle: handle as MovableHandle })
    }
    return found
  }

  return {
    get size() {
      return sockets.size
    },
    upgraded() {
      if (!plain) return 0
      let count = 0
      for (const socket of sockets) if (socket.parser === null) count += 1
      return count
    },
    idle() {
      let count = 0
      for (const socket of sockets) if (socket.parser && !socket._httpMessage) count += 1
      return count
    },
    sayClose(spareIdle = false) {
      if (spareIdle) for (const { socket } of movable()) spared.add(socket)
      sayClose(server, secure.size > 0 ? secure : sockets, spared)
      for (const session of sessions) session.close()
    },
    spareNone: () => spared.clear(),
    detachIdle(most = Number.POSITIVE_INFINITY) {
      const handles: NativeHandle[] = []
      if (most <= 0) return handles
      for (const { socket, handle } of movable()) {
        // No byte may be read here from now on: it belongs to the next worker.
        handle.reading = false
        handle.readStop()
        // Without its handle the socket is closed for this process alone: parser, timers and counts go the usual way.
        socket._handle = null
        socket.destroy()
        handles.push(handle)
        if (handles.length === most) break
      }
      return handles
    },
    closeIdle() {
      for (const socket of sockets) if (plain && fresh(socket)) socket.destroy()
      ;(server as Partial<HttpServer>).closeIdleConnections?.()
    },
    destroyAll() {
      for (const socket of sockets) socket.destroy()
    },
    whenEmpty(listener) {
      if (sockets.size === 0) listener()
      else emptied.push(listener)
    },
  }
}
