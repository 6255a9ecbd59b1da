import { PassThrough, type Readable, pipeline } from 'node:stream'

/**
 * Passes a stream on and collects it. `onEnd` gets the whole, or undefined where the stream failed or was larger than
 * `limit` bytes. The source is read at its own speed up to the limit: a slow client holds up nobody else.
 */
export function tee(source: Readable, limit: number, onEnd: (whole: Buffer | undefined) => void): Readable {
  const chunks: Buffer[] = []
  let bytes = 0
  let told = false
  const tell = (whole: Buffer | undefined): void => {
    if (told) return
    told = true
    chunks.length = 0
    onEnd(whole)
  }
  const out = new PassThrough({ highWaterMark: limit + 65_536 })
  source.on('data', (chunk: Buffer | string) => {
    if (told) return
    const buffer = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
    bytes += buffer.length
    if (bytes > limit) return tell(undefined)
    chunks.push(buffer)
  })
  pipeline(source, out, () => tell(undefined))
  source.once('end', () => tell(Buffer.concat(chunks)))
  return out
}
