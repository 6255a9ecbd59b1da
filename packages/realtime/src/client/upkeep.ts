import type { RawClientSocket } from './raw-socket.ts'

type Listener = (...args: never[]) => void

/** Listens to one of our own events, or of Socket.IO's reserved ones (`connect`, `disconnect`, `connect_error`). */
export type Listen = (event: string, listener: Listener) => void

/**
 * Listens beside the socket's listeners, and before them: pages take those away by `off('connect')`, or all of them by
 * `off()`, and what keeps a client in its rooms must stay.
 */
export function listenBeside(socket: RawClientSocket): Listen {
  const listeners = new Map<string, Listener[]>()
  function call(event: string, args: unknown[]): void {
    for (const listener of listeners.get(event) ?? []) listener(...(args as never[]))
  }
  const onevent = socket.onevent.bind(socket)
  socket.onevent = (packet) => {
    const event = packet.data?.[0]
    if (typeof event === 'string' && event.startsWith('realtime:')) call(event, packet.data?.slice(1) ?? [])
    onevent(packet)
  }
  const emitReserved = socket.emitReserved.bind(socket)
  socket.emitReserved = (event, ...args) => {
    call(event, args)
    return emitReserved(event, ...args)
  }
  return (event, listener) => void listeners.set(event, [...(listeners.get(event) ?? []), listener])
}
