import type { FastifyInstance } from 'fastify'
import type { Socket } from 'node:net'
import { bindReusePort, type NativeHandle } from '../primary/listener.ts'
import type { ToWorker } from '../protocol.ts'
import type { WorkerChannel } from './channel.ts'
import { createKeptAlive } from './kept-alive.ts'
import { adoptServer, canAdopt, type MainListener } from './listen.ts'

type ListenOrder = Extract<ToWorker, { t: 'listen' }>

/** How this worker comes to its connections. */
export interface Listening {
  /** Asks the primary where to listen, and listens there. */
  start(app: FastifyInstance): Promise<void>
  /**
   * Takes over a connection that the primary sent; false where this server does not listen (any more). `head`: what the
   * primary read from it, base64.
   */
  take(connection: NativeHandle, idle: boolean, head?: string): boolean
}

/** As though these bytes had just come. */
function putBack(socket: Socket & { _handle?: NativeHandle | null }, head: Buffer): void {
  if (socket._handle) socket._handle.readAhead = head.length
  socket.unshift(head)
}

export function createListening(channel: WorkerChannel): Listening {
  let app: FastifyInstance | undefined
  let listener: MainListener | undefined
  let keepAlive: ((socket: Socket) => void) | undefined
  let order: ListenOrder | undefined
  let ordered: ((order: ListenOrder) => void) | undefined
  const shared: NativeHandle[] = []

  channel.on((message, handle) => {
    if (message.t === 'listen') order = message
    else if (message.t === 'handle' && handle) shared.push(handle)
    else return
    if (order && shared.length === order.handles) ordered?.(order)
  })

  return {
    async start(instance) {
      const answer = new Promise<ListenOrder>((resolve) => (ordered = resolve))
      await channel.send({ t: 'where', adopts: canAdopt() })
      const { mode, address, addresses } = await answer
      if (mode === 'reuse-port') shared.push(...(addresses ?? []).map(bindReusePort))
      app = instance
      keepAlive = createKeptAlive(app.server)
      if (mode !== 'cluster') listener = adoptServer(app.server, address, shared)
      await app.listen('path' in address ? { path: address.path } : { host: address.address, port: address.port })
    },
    take(connection, idle, head) {
      if (!app || !listener) return false
      if (!idle && head === undefined) return listener.take(connection)
      const { server } = app
      let socket: Socket | undefined
      const note = (one: Socket): void => {
        socket = one
        if (head !== undefined) putBack(one, Buffer.from(head, 'base64'))
      }
      // Before the server itself sees it.
      server.prependOnceListener('connection', note)
      const taken = listener.take(connection)
      server.off('connection', note)
      if (idle && socket) keepAlive?.(socket)
      return taken
    },
  }
}
