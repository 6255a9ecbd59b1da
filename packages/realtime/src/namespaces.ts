import type { Namespace } from 'socket.io'
import { connectChannel, disconnectChannel, refuseChannel } from './channels.ts'
import { type Client, writeDirectly } from './direct-write.ts'
import { joinFrames } from './frames.ts'
import type { ResolvedOptions } from './options.ts'
import type { JoinReply, JoinRequest } from './protocol.ts'
import { serveJoins } from './rooms.ts'
import type { RawSocket, Sessions } from './sessions.ts'
import type { RealtimeServer, RealtimeSocket } from './types.ts'

export interface NamespacesOptions {
  io: RealtimeServer
  options: Pick<ResolvedOptions, 'openNamespaces' | 'authorizeRoom' | 'limits'>
  sessions: Sessions
  log: { error(details: object, message: string): void }
  /** Joins a room of the main namespace, with its history. */
  join: (socket: RawSocket, request: JoinRequest, isWanted: () => boolean) => Promise<JoinReply>
  /** A socket is connected. */
  onSocket: (socket: RawSocket, connection: object) => void
}

/** Authenticates and watches the sockets of every namespace, of those too that are made later. */
export function serveNamespaces({ io, options, sessions, log, join, onSocket }: NamespacesOptions): void {
  async function authenticate(socket: RawSocket, next: (error?: Error) => void): Promise<void> {
    try {
      await sessions.authenticate(socket)
    } catch (error) {
      const { message } = error as Error
      refuseChannel.publish(() => ({ code: message, address: socket.request.origin.address }))
      return next(error as Error)
    }
    next()
  }

  function serve(namespace: Namespace): void {
    const { name } = namespace
    joinFrames(namespace.adapter)
    if (options.openNamespaces.has(name)) return
    // Before the middlewares of the user's, which a dynamic namespace has already.
    const { _fns: middlewares } = namespace as unknown as { _fns: unknown[] }
    middlewares.unshift(authenticate)
    namespace.on('connection', (typed) => {
      const socket = typed as unknown as RawSocket
      writeDirectly(typed.client as unknown as Client)
      sessions.open(socket)
      onSocket(socket, typed.conn)
      connectChannel.publish(() => ({ id: socket.id, namespace: name, user: socket.data.user?.sub }))
      socket.on('disconnect', (reason: string) =>
        disconnectChannel.publish(() => ({ id: socket.id, namespace: name, reason })),
      )
      serveJoins(socket, {
        limit: options.limits.rooms,
        authorize: (room) =>
          options.authorizeRoom({ room, user: socket.data.user, socket: typed as unknown as RealtimeSocket }),
        join: name === '/' ? join : joinPlain,
        leave: (_, room) => void socket.leave(room),
        isSocketId: (room) => namespace.sockets.has(room),
        log,
      })
    })
  }

  serve(io.sockets as unknown as Namespace)
  io.on('new_namespace', (namespace) => serve(namespace as unknown as Namespace))
}

/** History and presence are of the main namespace. */
async function joinPlain(socket: RawSocket, { room }: JoinRequest): Promise<JoinReply> {
  await socket.join(room)
  return { ok: true }
}
