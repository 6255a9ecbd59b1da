import { Readable } from 'node:stream'
import { PutObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import type { ObjectParams, PutTrace } from './put-parts.ts'
import type { BodyReader, Flow } from './reader.ts'
import { NO_REQUEST_TIMEOUT, timeout, toS3Error } from './s3-call.ts'

/** S3's limit for one PutObject: 5 GB. */
export const MAX_PUT_BYTES: number = 5 * 1_024 ** 3

export interface StreamDeps {
  s3: S3Client
  /** How long S3 may take to accept bytes, or to answer when it has them all, in ms. */
  requestTimeout: number
}

/** A body of known length. */
export interface KnownBody {
  /** Chunks that were read already. */
  first: readonly Buffer[]
  flow: NonNullable<BodyReader['flow']>
  /** Bytes in all. */
  length: number
  /** Sees each chunk on its way; what it throws ends the upload. */
  see(chunk: Buffer): void
}

/**
 * Stores a body of known length as one PutObject, straight through: nothing is collected and nothing can be repeated, so a
 * failure of S3 is the client's to repeat. S3's time runs only while S3 is waited for; a slow client costs it nothing.
 */
export async function putStream(
  deps: StreamDeps,
  params: ObjectParams,
  { first, flow, length, see }: KnownBody,
  trace: PutTrace,
  stop: AbortController,
): Promise<{ etag: string }> {
  const { signal } = stop
  let waitingForClient = false
  const watchdog = setTimeout(() => {
    if (waitingForClient) watchdog.refresh()
    else stop.abort(timeout())
  }, deps.requestTimeout)
  const waitForS3 = (): void => {
    waitingForClient = false
    watchdog.refresh()
  }
  let source: Flow | undefined
  const body = new Readable({
    highWaterMark: 256 * 1_024,
    read() {
      if (waitingForClient) return
      waitingForClient = true
      source?.resume()
    },
  })
  // The SDK does not listen before it sends.
  body.on('error', () => {})
  const sent = new AbortController()
  const onAbort = (): void => sent.abort()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    for (const chunk of first) {
      see(chunk)
      body.push(chunk)
    }
    source = flow({
      chunk(chunk) {
        try {
          see(chunk)
        } catch (error) {
          stop.abort(error)
          return false
        }
        if (body.push(chunk)) return true
        waitForS3()
        return false
      },
      end() {
        waitForS3()
        body.push(null)
      },
      error: (error) => stop.abort(error),
    })
    signal.throwIfAborted()
    trace.touched = true
    const aborted = new Promise<never>((_resolve, reject) => {
      sent.signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    })
    const { ETag } = await Promise.race([
      deps.s3.send(new PutObjectCommand({ ...params, Body: body, ContentLength: length }), {
        abortSignal: sent.signal,
        // The watchdog is stricter, and it does not count a slow client's time.
        requestTimeout: NO_REQUEST_TIMEOUT,
      }),
      aborted,
    ])
    return { etag: ETag ?? '' }
  } catch (error) {
    if (!signal.aborted) stop.abort(trace.touched ? toS3Error(error) : error)
    throw signal.reason
  } finally {
    clearTimeout(watchdog)
    signal.removeEventListener('abort', onAbort)
    body.destroy()
  }
}
