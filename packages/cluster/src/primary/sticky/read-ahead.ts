import { Socket } from 'node:net'
import type { NativeHandle } from '../listener.ts'
import { findHeader, MAX_HEAD } from './head.ts'

interface ReadHandle extends NativeHandle {
  readStop(): number
  reading: boolean
}

export interface ReadAhead {
  /** Calls back once, with the header's value if it came and with the bytes that were read; not where the client left. */
  read(handle: NativeHandle, done: (value: string | undefined, bytes: Buffer) => void): void
  /** Ends all readings at once, with what has come. */
  flush(): void
}

/** ms in which the header must come. A browser may open a connection long before it sends anything. */
const TIME = 5_000

/** A head in more pieces than this is nobody's honest request. */
const MAX_READS = 64

/**
 * Reads the beginning of connections in the primary, no further than the header asked for, 16 kB (and what came with
 * them in one read), 64 pieces or 5 s.
 */
export function createReadAhead(header: string, time: number = TIME): ReadAhead {
  const name = header.toLowerCase()
  const readings = new Set<() => void>()

  return {
    read(handle, done) {
      const socket = new Socket({ handle, allowHalfOpen: true } as object)
      const chunks: Buffer[] = []
      let size = 0

      /** Takes the connection out of the socket alive, as it came but for the bytes read. */
      function finish(value: string | undefined): void {
        stop()
        const native = handle as ReadHandle
        native.reading = false
        native.readStop()
        Object.assign(socket, { _handle: null })
        socket.destroy()
        done(value, Buffer.concat(chunks))
      }
      const giveUp = (): void => finish(undefined)
      function leave(): void {
        stop()
        socket.destroy()
      }
      function stop(): void {
        clearTimeout(timer)
        readings.delete(giveUp)
        socket.removeAllListeners()
        socket.on('error', () => undefined)
      }
      function onData(chunk: Buffer): void {
        chunks.push(chunk)
        size += chunk.length
        const found = findHeader(chunks.length === 1 ? chunk : Buffer.concat(chunks), name)
        if (typeof found === 'object') finish(found.value)
        else if (found === 'none' || size >= MAX_HEAD || chunks.length >= MAX_READS) giveUp()
      }

      const timer = setTimeout(giveUp, time)
      readings.add(giveUp)
      socket.on('data', onData)
      socket.on('error', leave)
      // Half a request and the end: the worker says what is wrong with it.
      socket.on('end', () => (size > 0 ? giveUp() : leave()))
    },
    flush() {
      for (const giveUp of [...readings]) giveUp()
    },
  }
}
