import { createRequire } from 'node:module'
import type { Finding } from './findings.ts'
import { placeIn, stackHere } from './frames.ts'

/** Those of Socket.IO that know the clients of one process; the second is that of `connectionStateRecovery`. */
const OWN_ADAPTERS = new Set<string | undefined>(['Adapter', 'SessionAwareAdapter'])

interface SocketIoServer {
  of(name: string): { adapter?: { constructor?: { name?: string } } }
}
interface SocketIoModule {
  Server: { prototype: Record<string, (...args: unknown[]) => unknown> }
}

/**
 * Takes note of every Socket.IO server that the app starts. Call it before the app is loaded; what it returns looks at
 * them when the app is ready.
 *
 * @param app the app's module: its own socket.io is meant
 */
export function watchSockets(root: string, app: string): () => Finding[] {
  const started = new Map<SocketIoServer, { at: string | undefined; transports: string[] }>()
  let module: SocketIoModule
  try {
    module = createRequire(app)('socket.io') as SocketIoModule
  } catch {
    return () => []
  }
  const { prototype } = module.Server
  const original = prototype['initEngine'] as (...args: unknown[]) => unknown
  prototype['initEngine'] = function watchedEngine(this: SocketIoServer, ...args: unknown[]) {
    // The options of the server and those that it was attached with.
    const { transports = ['polling', 'websocket'] } = (args[1] ?? {}) as { transports?: string[] }
    started.set(this, { at: placeIn(root, stackHere()), transports })
    return original.apply(this, args)
  }
  return () =>
    [...started].flatMap(([server, { at, transports }]) => {
      const findings: Finding[] = []
      if (transports.includes('polling'))
        findings.push({
          kind: 'socketio-polling',
          message: 'a Socket.IO server lets clients poll: each poll may reach another worker, which does not know them',
          at,
        })
      if (OWN_ADAPTERS.has(server.of('/').adapter?.constructor?.name))
        findings.push({
          kind: 'socketio-no-adapter',
          message: 'a Socket.IO server has no adapter: a broadcast reaches the clients of one worker only',
          at,
        })
      return findings
    })
}
