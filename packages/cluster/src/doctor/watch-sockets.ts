import { createRequire } from 'node:module'
import type { Finding } from './findings.ts'
import { placeIn, stackHere } from './frames.ts'

interface SocketIoServer {
  opts?: { transports?: string[] }
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
  const started = new Map<SocketIoServer, string | undefined>()
  let module: SocketIoModule
  try {
    module = createRequire(app)('socket.io') as SocketIoModule
  } catch {
    return () => []
  }
  const { prototype } = module.Server
  const original = prototype['initEngine'] as (...args: unknown[]) => unknown
  prototype['initEngine'] = function watchedEngine(this: SocketIoServer, ...args: unknown[]) {
    started.set(this, placeIn(root, stackHere()))
    return original.apply(this, args)
  }
  return () =>
    [...started].flatMap(([server, at]) => {
      const findings: Finding[] = []
      const transports = server.opts?.transports ?? ['polling', 'websocket']
      if (transports.includes('polling'))
        findings.push({
          kind: 'socketio-polling',
          message: 'a Socket.IO server lets clients poll: each poll may reach another worker, which does not know them',
          at,
        })
      if (server.of('/').adapter?.constructor?.name === 'Adapter')
        findings.push({
          kind: 'socketio-no-adapter',
          message: 'a Socket.IO server has no adapter: a broadcast reaches the clients of one worker only',
          at,
        })
      return findings
    })
}
