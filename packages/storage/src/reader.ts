import type { Readable } from 'node:stream'
import type { Patience } from './patience.ts'

/** Gives the next bytes of a body, or `null` at its end. */
export type NextChunk = () => Promise<Buffer | null>

export interface BodyReader {
  next: NextChunk
  /** Stops reading, so that somebody else can. */
  stop: () => void
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
  return { next, stop: () => void stream.off('readable', notify) }
}

/** A body of which the first bytes were looked at: they come first, then the rest. */
export async function peek(next: NextChunk, length: number): Promise<{ head: Buffer; next: NextChunk }> {
  const chunks: Buffer[] = []
  let size = 0
  let chunk: Buffer | null
  while (size < length && (chunk = await next()) !== null) {
    chunks.push(chunk)
    size += chunk.length
  }
  let given = 0
  return {
    head: chunks.length === 1 ? (chunks[0] as Buffer).subarray(0, length) : Buffer.concat(chunks).subarray(0, length),
    next: async () => (given < chunks.length ? (chunks[given++] as Buffer) : next()),
  }
}
