import { type FromWorker, pack, readToWorker, type ToWorker } from '../protocol.ts'
import type { NativeHandle } from '../primary/listener.ts'
import type { Port } from '../bus.ts'

/** The worker's end of the channel to the primary. */
export interface WorkerChannel {
  /** Sends a message, with a handle or without. Resolves when it was written; false where the primary is gone. */
  send(message: FromWorker, handle?: NativeHandle): Promise<boolean>
  on(listener: (message: ToWorker, handle: NativeHandle | undefined) => void): void
  /** What the plugin uses. */
  port: Port
}

export function createWorkerChannel(): WorkerChannel {
  const write = (message: object, handle?: NativeHandle): Promise<boolean> =>
    new Promise((resolve) => {
      if (!process.connected || !process.send) return resolve(false)
      process.send(message, handle as never, {}, (error) => resolve(!error))
    })
  return {
    send: (message, handle) => write(pack(message), handle),
    on(listener) {
      process.on('message', (raw, handle) => {
        const message = readToWorker(raw)
        if (message) listener(message, handle as NativeHandle | undefined)
        // A handle nobody asked for would be a leak.
        else if (handle && typeof (handle as NativeHandle).close === 'function') (handle as NativeHandle).close()
      })
    },
    port: {
      send(message) {
        if (!process.connected || !process.send) return false
        process.send(message, undefined, {}, () => undefined)
        return true
      },
      listen(listener) {
        const onMessage = (message: unknown): void => listener(message)
        process.on('message', onMessage)
        return () => void process.off('message', onMessage)
      },
    },
  }
}
