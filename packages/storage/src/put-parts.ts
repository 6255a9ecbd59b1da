import { type Hash, createHash } from 'node:crypto'
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import type { BufferPool } from './buffers.ts'
import type { NextChunk } from './reader.ts'
import type { S3Call } from './s3-call.ts'

/** What S3 is told about an object. */
export interface ObjectParams {
  Bucket: string
  Key: string
  ContentType: string
  CacheControl?: string
  ContentDisposition?: string
  ContentEncoding?: string
  ACL?: 'public-read' | 'private'
  Metadata?: Record<string, string>
}

export interface PutDeps {
  s3: S3Client
  /** For what is asked before and after the parts. */
  brief: S3Client
  call: S3Call
  pool: BufferPool
  /** Sign what is sent, too. Over TLS that is not needed. */
  signPayload: boolean
  /** How many part buffers one upload may hold, in filling and in flight; twice as many while others need few. */
  queueSize: number
}

/** What may be there in S3 after a failure. Filled in while the upload runs, read when it failed. */
export interface PutTrace {
  /** True once a request was sent that could have made something. */
  touched: boolean
  uploadId?: string
  /** True where the multipart upload may have been begun twice: an answer was lost, and the SDK asked again. */
  begunAgain?: boolean
}

/**
 * Stores a body of unknown length: one PutObject where it fits into a part, else a multipart upload. Bytes are copied
 * once, into part buffers that are used again, and no more than there are of them: while all are in flight the body is not
 * read, and TCP holds the client back.
 *
 * Left to itself the SDK reads each part once more, and all at once, to sign it: here that is done, where it is needed, while
 * the bytes are in the processor's cache.
 *
 * @param sha256 the SHA-256 of all that `next` has given so far, in hexadecimal
 *
 * `stop` ends it: its own failure aborts it too, so that whoever waits for the client or for S3 wakes at once.
 */
export async function putParts(
  deps: PutDeps,
  params: ObjectParams,
  next: NextChunk,
  sha256: () => string,
  trace: PutTrace,
  stop: AbortController,
): Promise<{ etag: string }> {
  const { s3, brief, call, pool, signPayload } = deps
  const { signal } = stop
  const inFlight = new Set<Promise<void>>()
  const etags: string[] = []
  let rest: Buffer | null = null

  /** Fills the buffer; returns how many bytes. Less than its size only at the end of the body. */
  async function fill(buffer: Buffer, hash?: Hash): Promise<number> {
    let filled = 0
    while (filled < buffer.length) {
      rest ??= await next()
      if (rest === null) break
      const copied = rest.copy(buffer, filled)
      filled += copied
      hash?.update(copied < rest.length ? rest.subarray(0, copied) : rest)
      rest = copied < rest.length ? rest.subarray(copied) : null
    }
    return filled
  }

  function send(uploadId: string, partNumber: number, buffer: Buffer, length: number, hash?: Hash): void {
    filling = false
    const part = new UploadPartCommand({
      Bucket: params.Bucket,
      Key: params.Key,
      UploadId: uploadId,
      PartNumber: partNumber,
      Body: buffer.subarray(0, length),
      ContentLength: length,
    })
    part.middlewareStack.add(payloadHash(hash?.digest('hex')), BUILD)
    const sending: Promise<void> = call((options) => s3.send(part, options), signal).then(
      ({ ETag }) => {
        etags[partNumber - 1] = ETag ?? ''
        pool.give(buffer)
      },
      (error: unknown) => {
        pool.drop()
        stop.abort(error)
      },
    )
    const tracked = sending.finally(() => inFlight.delete(tracked))
    inFlight.add(tracked)
  }

  const newHash = (): Hash | undefined => (signPayload ? createHash('sha256') : undefined)

  /** Held by nothing in flight. */
  let filling = false
  async function take(): Promise<Buffer> {
    const buffer = await pool.take(signal)
    filling = true
    return buffer
  }

  try {
    const first = await take()
    const length = await fill(first)
    const more = length === first.length ? (rest ??= await next()) : null
    signal.throwIfAborted()
    trace.touched = true
    if (more === null) {
      const whole = new PutObjectCommand({ ...params, Body: first.subarray(0, length), ContentLength: length })
      whole.middlewareStack.add(payloadHash(signPayload ? sha256() : undefined), BUILD)
      const { ETag } = await call((options) => s3.send(whole, options), signal)
      filling = false
      pool.give(first)
      return { etag: ETag ?? '' }
    }

    const begun = await call((options) => brief.send(new CreateMultipartUploadCommand(params), options), signal)
    const uploadId = begun.UploadId ?? ''
    trace.uploadId = uploadId
    trace.begunAgain = (begun.$metadata.attempts ?? 1) > 1
    let partNumber = 1
    send(uploadId, partNumber, first, length, newHash()?.update(first))
    while ((rest ??= await next()) !== null) {
      while (inFlight.size >= deps.queueSize * (pool.roomy ? 2 : 1)) await Promise.race(inFlight)
      signal.throwIfAborted()
      const buffer = await take()
      const hash = newHash()
      const filled = await fill(buffer, hash)
      send(uploadId, ++partNumber, buffer, filled, hash)
    }
    await Promise.all(inFlight)
    signal.throwIfAborted()
    const { ETag } = await call(
      (options) =>
        brief.send(
          new CompleteMultipartUploadCommand({
            Bucket: params.Bucket,
            Key: params.Key,
            UploadId: uploadId,
            MultipartUpload: { Parts: etags.map((tag, index) => ({ ETag: tag, PartNumber: index + 1 })) },
          }),
          options,
        ),
      signal,
    )
    return { etag: await completedEtag(deps, params, ETag, signal) }
  } catch (error) {
    // The first failure is the cause; what it woke is not.
    if (!signal.aborted) stop.abort(error)
    if (filling) pool.drop()
    await Promise.all(inFlight)
    throw signal.reason
  }
}

/** Middleware that tells the SDK the SHA-256 of the body, or that it is not signed, as AWS' own tools do over TLS. */
function payloadHash(sha256 = 'UNSIGNED-PAYLOAD') {
  return <Args extends { request: unknown }, Result>(next: (args: Args) => Result) =>
    (args: Args): Result => {
      const { headers } = args.request as { headers: Record<string, string> }
      headers['x-amz-content-sha256'] = sha256
      return next(args)
    }
}
const BUILD = { step: 'build', name: 'payloadHash' } as const

/** Ceph answers a completion before it knows the ETag, and leaves it empty. */
export async function completedEtag(
  { s3, call }: Pick<PutDeps, 's3' | 'call'>,
  { Bucket, Key }: ObjectParams,
  given: string | undefined,
  signal?: AbortSignal,
): Promise<string> {
  if (given) return given
  const head = await call((options) => s3.send(new HeadObjectCommand({ Bucket, Key }), options), signal)
  return head.ETag ?? ''
}
