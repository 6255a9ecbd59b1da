import { type Readable, pipeline } from 'node:stream'
import type { Encoder } from './encodings.ts'

/**
 * Pipes `source` into `encoder` and, with a `flushKind`, flushes it whenever the source has given nothing more by the end
 * of the event loop's turn. So nothing is held back while the source is quiet, and a source that is busy is not cut into
 * small blocks.
 *
 * When one of the two streams fails or is destroyed, so is the other.
 */
export function encodeStream(source: Readable, encoder: Encoder, flushKind: number | undefined): Readable {
  if (flushKind !== undefined) {
    let state: 'idle' | 'waiting' | 'flushing' | 'dirty' = 'idle'
    const flush = (): void => {
      if (encoder.destroyed || encoder.writableEnded) return
      state = 'flushing'
      encoder.flush(flushKind, () => {
        const again = state === 'dirty'
        state = 'idle'
        if (again) schedule()
      })
    }
    const schedule = (): void => {
      // Never two flushes at once: behind a slow reader they would pile up.
      if (state === 'idle') {
        state = 'waiting'
        setImmediate(flush)
      } else if (state === 'flushing') state = 'dirty'
    }
    source.on('data', schedule)
  }
  // Errors show on the encoder, whose reader has to deal with them.
  pipeline(source, encoder, () => undefined)
  return encoder
}
