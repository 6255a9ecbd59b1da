import type { Namespace } from 'socket.io'
import { HandshakeRefusal } from './authentication.ts'
import { connectChannel, disconnectChannel, refuseChannel } from './channels.ts'
import { type Client, writeDirectly } from './direct-write.ts'
import { joinFrames } from './frames.ts'
import { applyToOneRoom } from './one-room.ts'
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
  async function authenticate(socket: RawSocket): Promise<Error | undefined> {
    try {
      await sessions.authenticate(socket)
      return undefined
    } catch (error) {
      return refused(socket, error as Error)
    }
  }

  /** Whether a socket that the middlewares let in may still come in. */
  function recheck(socket: RawSocket): Error | undefined {
    const code = sessions.endedMeanwhile(socket)
    return code && refused(socket, new HandshakeRefusal(code))
  }

  function refused(socket: RawSocket, error: Error): Error {
    refuseChannel.publish(() => ({ code: error.message, address: socket.request.origin.address }))
    return error
  }

  /** Around the middlewares of the user's, those too that a dynamic namespace has already. */
  function guard(namespace: { run(socket: RawSocket, done: (error?: Error) => void): void }): void {
    const middlewares = namespace.run.bind(namespace)
    namespace.run = (socket, done) => {
      const forget = sessions.expect(socket)
      const settle = (error?: Error): void => {
        done(error)
        // Socket.IO goes on in the next tick, too: the socket is there before it is forgotten here.
        process.nextTick(forget)
      }
      void authenticate(socket).then((error) => {
        if (error) settle(error)
        else middlewares(socket, (refusal) => settle(refusal ?? recheck(socket)))
      })
    }
  }

  function serve(namespace: Namespace): void {
    const { name } = namespace
    joinFrames(namespace.adapter)
    applyToOneRoom(namespace.adapter)
    if (options.openNamespaces.has(name)) return
    guard(namespace as unknown as Parameters<typeof guard>[0])
    namespace.on('connection', (typed) => {
      const socket = typed as unknown as RawSocket
      writeDirectly(typed.client as unknown as Client)
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
      // The last one: it may end the socket.
      sessions.open(socket)
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
