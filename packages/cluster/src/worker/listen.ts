import cluster from 'node:cluster'
import type { Server } from 'node:net'
import type { NativeHandle } from '../primary/listener.ts'
import type { ListenAddress } from '../protocol.ts'

/** A listening handle as `net.Server` sees it. */
interface ServerHandle extends NativeHandle {
  onconnection?: (error: number, connection?: NativeHandle) => void
  listen(backlog: number): number
}

type GetServer = (server: Server, options: object, done: (error: number, handle: ServerHandle) => void) => void
type ClusterInternals = { _getServer?: GetServer }

/** The one server that listens where the primary says. Others of the app listen through node:cluster, as ever. */
export interface MainListener {
  /** The server takes this connection as though it had accepted it. False where it does not listen (any more). */
  take(connection: NativeHandle): boolean
}

/** Whether a server can be given its connections on this Node. */
export function canAdopt(): boolean {
  if (process.env.FASTIFY_SCALE_PLAIN_CLUSTER) return false
  return typeof (cluster as ClusterInternals)._getServer === 'function'
}

/**
 * Makes `server.listen()` of this one server listen on nothing: connections come from the primary. node:cluster asks
 * `_getServer` for a handle; this gives it one of ours. With `shared` listening handles it accepts from those as well.
 */
export function adoptServer(server: Server, address: ListenAddress, shared: NativeHandle[]): MainListener {
  const internals = cluster as ClusterInternals
  const original = internals._getServer as GetServer
  let open = false

  const handle = {
    onconnection: undefined as ServerHandle['onconnection'],
    listen(backlog: number): number {
      open = true
      for (const one of shared as ServerHandle[]) {
        one.onconnection = (error, connection) => handle.onconnection?.call(handle, error, connection)
        const failed = one.listen(backlog)
        if (failed) return failed
      }
      return 0
    },
    close(): void {
      open = false
      for (const one of shared.splice(0)) one.close()
    },
    ref(): void {},
    unref(): void {},
    // A server on a unix socket has no such name: node keeps the path itself.
    getsockname: 'path' in address ? undefined : (out: object): number => (Object.assign(out, address), 0),
  }

  internals._getServer = function getServer(other, options, done) {
    if (other !== server) return original.call(this, other, options, done)
    internals._getServer = original
    // Not in this tick: the primary's answer would not be either.
    process.nextTick(done, 0, handle as ServerHandle)
  }

  return {
    take(connection) {
      if (!open || !handle.onconnection) return false
      handle.onconnection(0, connection)
      return true
    },
  }
}
