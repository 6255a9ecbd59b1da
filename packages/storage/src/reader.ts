import type { Readable } from 'node:stream'
import type { Patience } from './patience.ts'

/** Gives the next bytes of a body, or `null` at its end. */
export type NextChunk = () => Promise<Buffer | null>

export interface BodyReader {
  next: NextChunk
  /** Stops reading, so that somebody else can. */
  stop: () => void
  /**
   * From now on pushes instead of being asked, which costs no promise for each chunk. Only streams can.
   */
  flow?: (sink: ChunkSink) => Flow
}

export interface ChunkSink {
  /** Takes a chunk; returns false to have no more until `resume()`. */
  chunk(chunk: Buffer): boolean
  end(): void
  error(error: Error): void
}

export interface Flow {
  resume(): void
}

/**
 * Reads a stream chunk by chunk, without an iterator of its own: leaving off early does not destroy the stream, whose
 * rest the caller may want to drain.
 */
export function createReader(stream: Readable, patience: Patience): BodyReader {
  let ended = false
  let failure: Error | undefined
  let wake: (() => void) | undefined
  const notify = (): void => {
    wake?.()
    wake = undefined
  }
  stream.on('readable', notify)
  stream.on('end', () => {
    ended = true
    notify()
  })
  stream.on('error', (error: Error) => {
    failure ??= error
    notify()
  })
  stream.on('close', () => {
    if (!ended) failure ??= new Error('the stream was closed before its end')
    notify()
  })
  async function next(): Promise<Buffer | null> {
    for (;;) {
      const chunk = stream.destroyed && !stream.readable ? null : (stream.read() as Buffer | string | null)
      if (chunk !== null) {
        const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
        patience.sent(bytes.length)
        return bytes
      }
      if (ended || stream.readableEnded) return null
      if (failure) throw failure
      if (stream.errored) throw stream.errored
      await patience.wait(new Promise<void>((resolve) => (wake = resolve)))
    }
  }
  let onData: ((chunk: Buffer | string) => void) | undefined
  function flow(sink: ChunkSink): Flow {
    stream.off('readable', notify)
    const clock = (): void => patience.begin((error) => sink.error(error))
    onData = (chunk) => {
      const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
      patience.end()
      patience.sent(bytes.length)
      if (sink.chunk(bytes)) clock()
      else stream.pause()
    }
    stream.on('data', onData)
    // Set on the end, an error or a close, whichever comes first.
    wake = () => {
      patience.end()
      if (ended) sink.end()
      else sink.error(failure as Error)
    }
    if (ended || failure) notify()
    return {
      resume() {
        if (ended || failure) return
        clock()
        stream.resume()
      },
    }
  }
  function stop(): void {
    stream.off('readable', notify)
    if (onData) stream.off('data', onData)
  }
  return { next, stop, flow }
}

/** A body of which the first bytes were looked at: they come first, then the rest. */
export async function peek(
  next: NextChunk,
  length: number,
): Promise<{ head: Buffer; chunks: readonly Buffer[]; next: NextChunk }> {
  const chunks: Buffer[] = []
  let size = 0
  let chunk: Buffer | null
  while (size < length && (chunk = await next()) !== null) {
    chunks.push(chunk)
    size += chunk.length
  }
  let given = 0
  return {
    chunks,
    head: chunks.length === 1 ? (chunks[0] as Buffer).subarray(0, length) : Buffer.concat(chunks).subarray(0, length),
    next: async () => (given < chunks.length ? (chunks[given++] as Buffer) : next()),
  }
}
