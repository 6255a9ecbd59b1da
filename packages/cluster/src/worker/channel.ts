import type { Port } from '../bus.ts'
import type { NativeHandle } from '../primary/listener.ts'
import { type FromWorker, pack, readToWorker, type ToWorker } from '../protocol.ts'

/** The worker's end of the channel to the primary. */
export interface WorkerChannel {
  /** Sends a message, with a handle or without. Resolves when it was written; false where the primary is gone. */
  send(message: FromWorker, handle?: NativeHandle): Promise<boolean>
  /** Sends a message that nobody waits for. */
  tell(message: FromWorker): void
  on(listener: (message: ToWorker, handle: NativeHandle | undefined) => void): void
  /** What the plugin uses. */
  port: Port
}

const ignore = (): void => undefined

/** One listener on the process for all: with one connection for each request this is the busiest path there is. */
export function createWorkerChannel(): WorkerChannel {
  const own = new Set<(message: ToWorker, handle: NativeHandle | undefined) => void>()
  const others = new Set<(message: unknown) => void>()

  process.on('message', (raw, handle) => {
    const message = readToWorker(raw)
    if (message) {
      for (const listener of own) listener(message, handle as NativeHandle | undefined)
      return
    }
    // A handle nobody asked for would be a leak.
    if (handle && typeof (handle as NativeHandle).close === 'function') (handle as NativeHandle).close()
    for (const listener of others) listener(raw)
  })

  function write(message: object, handle: NativeHandle | undefined, done: (error: Error | null) => void): boolean {
    if (!process.connected || !process.send) return false
    process.send(message, handle as never, undefined, done)
    return true
  }

  return {
    send: (message, handle) =>
      new Promise((resolve) => {
        if (!write(pack(message), handle, (error) => resolve(!error))) resolve(false)
      }),
    tell: (message) => void write(pack(message), undefined, ignore),
    on: (listener) => void own.add(listener),
    port: {
      send: (message) => write(message, undefined, ignore),
      listen(listener) {
        others.add(listener)
        return () => others.delete(listener)
      },
    },
  }
}
