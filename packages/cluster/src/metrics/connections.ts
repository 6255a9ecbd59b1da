import type { Server } from 'node:http'

/** Open connections of a server, and those of them that have no request. */
export interface ConnectionCount {
  connections: number
  idle: number
}

interface ConnectionsList {
  all(): unknown[]
  idle(): unknown[]
}

/**
 * Counts a server's connections. Node's HTTP server keeps its own list of them (what `closeIdleConnections()` uses);
 * where it is not there, as over HTTP/2, only the total is known.
 */
export function countConnections(server: object): ConnectionCount {
  const key = Object.getOwnPropertySymbols(server).find((symbol) => symbol.description === 'http.server.connections')
  const list = key && (server as Record<symbol, ConnectionsList | undefined>)[key]
  if (list && typeof list.all === 'function' && typeof list.idle === 'function')
    return { connections: list.all().length, idle: list.idle().length }
  const { _connections } = server as Server & { _connections?: number }
  return { connections: _connections ?? 0, idle: 0 }
}
