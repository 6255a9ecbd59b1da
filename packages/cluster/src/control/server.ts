import { chmodSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { oneLine } from '@fastify-scale/kit'
import { ControlError, RunningError } from '../errors.ts'
import { removeStaleSocket } from '../stale-socket.ts'
import { encode, LONGEST_LINE, readOrder } from './messages.ts'

/** Who gave an order, while that lasts. */
export interface Client {
  /** Sends news, which wait here until they are read. */
  tell(news: unknown): void
  /** How much waits to be read, in bytes. */
  waiting(): number
  /** Calls back each time when nothing waits any more, after something did. */
  onRead(listener: () => void): void
  /** Aborts when the other side hangs up. */
  signal: AbortSignal
}

/** Carries out one order. */
export type Handler = (argument: unknown, client: Client) => unknown

export interface ControlServer {
  readonly path: string
  close(): Promise<void>
}

/** At most so many people give orders at once. */
const MOST_CLIENTS = 64

/**
 * Takes orders on a unix socket with mode 0600. A socket that a dead launcher left is removed; where somebody listens,
 * throws SCALE_CLUSTER_RUNNING.
 */
export async function startControlServer(
  path: string,
  name: string,
  handlers: Record<string, Handler>,
): Promise<ControlServer> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => sockets.delete(socket))
    serve(socket, handlers)
  })
  server.maxConnections = MOST_CLIENTS

  if (!(await listen(server, path))) {
    if (!(await removeStaleSocket(path)))
      throw new RunningError(
        `a launcher named '${name}' runs already; stop it with 'fastify-scale stop --name ${name}', or give this one another --name`,
      )
    if (!(await listen(server, path)))
      throw new RunningError(`a launcher named '${name}' is being started by somebody else`)
  }
  server.on('error', () => undefined)

  return {
    path,
    close() {
      for (const socket of sockets) socket.end()
      return new Promise((resolve) => {
        // Node removes the socket's file when the server closes.
        server.close(() => resolve())
        setTimeout(() => {
          for (const socket of sockets) socket.destroy()
        }, 500).unref()
      })
    },
  }
}

/** False where the path is taken. */
function listen(server: ReturnType<typeof createServer>, path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => {
      if (error.code === 'EADDRINUSE') resolve(false)
      else reject(new ControlError(`cannot make the control socket ${path}: ${oneLine(error)}`))
    }
    server.once('error', onError)
    // No moment in which others could connect.
    const before = process.umask(0o177)
    server.listen(path, () => {
      server.off('error', onError)
      chmodSync(path, 0o600)
      resolve(true)
    })
    process.umask(before)
  })
}

function serve(socket: Socket, handlers: Record<string, Handler>): void {
  let text = ''
  let busy = false
  const hangUp = new AbortController()
  socket.setEncoding('utf8')
  socket.once('close', () => hangUp.abort())
  const answer = (reply: Parameters<typeof encode>[0]): void => {
    if (!socket.destroyed) socket.write(encode(reply))
  }

  socket.on('data', (chunk: string) => {
    text += chunk
    const end = text.indexOf('\n')
    if (end < 0 && text.length <= LONGEST_LINE) return
    // One order a connection: nothing to get out of step.
    if (busy) return
    busy = true
    void carryOut(end < 0 ? '' : text.slice(0, end)).finally(() => socket.end())
  })

  async function carryOut(line: string): Promise<void> {
    const order = readOrder(line)
    const handler = order && Object.hasOwn(handlers, order.order) ? handlers[order.order] : undefined
    try {
      if (!order) throw new ControlError('that is not an order')
      if (!handler) throw new ControlError(`this launcher does not know '${order.order.slice(0, 40)}'`)
      const result = await handler(order.argument, {
        tell: (news) => answer({ v: 1, news }),
        waiting: () => socket.writableLength,
        onRead: (listener) => void socket.on('drain', listener),
        signal: hangUp.signal,
      })
      answer({ v: 1, ok: true, answer: result })
    } catch (error) {
      const { code, message } = error as { code?: string; message?: string }
      answer({ v: 1, ok: false, error: message ?? String(error), ...(typeof code === 'string' ? { code } : {}) })
    }
  }
}
