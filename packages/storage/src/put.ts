import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { type Duration, checkKnown, parseDuration } from '@fastify-scale/kit'
import { SourceIncompleteError, StorageOptionError } from './errors.ts'
import type { Patience } from './patience.ts'
import { createReader } from './reader.ts'
import { type UploadSource, singleFile } from './source.ts'
import type { StoredFile, UploadPlan, UploadProgress } from './upload.ts'
import { type ResolvedDefaults, type UploadDefaults, checkPartCount, resolveDefaults } from './upload-options.ts'

/** What `put()` stores: bytes, or a stream of them (of Node.js or of the web, or any async iterable). */
export type PutBody = Uint8Array | Readable | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>

/** Options of `put()`; what is not given is as for uploads. */
export interface PutOptions extends Omit<UploadDefaults, 'idleTimeout' | 'minRate'> {
  /**
   * What it is: the content must be of that type, and text that shows none (CSV, JSON, Markdown…) is stored as that.
   * Short for `allowedTypes: [contentType]`.
   */
  contentType?: string
  /** How long a stream may give nothing. Default: the plugin's `idleTimeout`, 30 s. */
  idleTimeout?: Duration
  /** How long to wait for a slot before it is refused with 503; uploads have the same slots. Default 10 s. */
  slotTimeout?: Duration
  /** Store under `pending/`, until `completeDirectUpload()` takes it out. */
  pending?: boolean
  /** Called while a stream comes in. */
  onProgress?: (progress: UploadProgress) => void
  /** Ends it: its reason is thrown, and nothing is left in S3. */
  signal?: AbortSignal
  /** Saves the URL. Called when it is in S3; if it throws, the object is removed and the error passed on. */
  persist?: (file: StoredFile) => unknown
}

/** What one call of `put()` decides. */
export interface PutPlan {
  plan: UploadPlan
  /** ms. */
  idleTimeout: number
  /** ms. */
  slotTimeout: number
}

const KEYS: (keyof PutOptions)[] = [
  'prefix',
  'maxBytes',
  'allowedTypes',
  'visibility',
  'contentType',
  'idleTimeout',
  'slotTimeout',
  'pending',
  'onProgress',
  'signal',
  'persist',
]

const fail = (message: string): Error => new StorageOptionError(message)

/** Checks the options of a call. @throws SCALE_STORAGE_OPTION */
export function resolvePut(options: PutOptions, base: ResolvedDefaults, partSize: number): PutPlan {
  checkKnown(options, KEYS, 'put()', fail)
  const { contentType, allowedTypes, pending = false, slotTimeout = '10s', signal } = options
  if (contentType !== undefined && allowedTypes !== undefined)
    throw fail(
      "options 'contentType' and 'allowedTypes' of put() exclude each other: the first is short for one of the second",
    )
  if (
    contentType !== undefined &&
    !(typeof contentType === 'string' && /^[a-z0-9.+-]+\/[a-z0-9.+-]+$/.test(contentType))
  )
    throw fail("option 'contentType' of put() must be a type like 'image/webp'")
  if (typeof pending !== 'boolean') throw fail("option 'pending' must be true or false")
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw fail("option 'signal' must be an AbortSignal")
  const own = resolveDefaults(
    {
      prefix: options.prefix,
      maxBytes: options.maxBytes,
      visibility: options.visibility,
      allowedTypes: contentType === undefined ? allowedTypes : [contentType],
      idleTimeout: options.idleTimeout,
    },
    base,
  )
  checkPartCount(own.maxBytes, partSize)
  return {
    plan: {
      prefix: own.prefix,
      maxBytes: own.maxBytes,
      allowedTypes: own.allowedTypes,
      visibility: own.visibility,
      pending,
      maxFiles: 1,
      onProgress: options.onProgress,
    },
    idleTimeout: own.idleTimeout,
    slotTimeout: parseDuration(slotTimeout, { name: 'slotTimeout', min: 0, max: 2 ** 31 - 1, fail }),
  }
}

/** A body, read at the pace at which S3 takes it; `destroy` lets go of a stream that was not read to its end. */
export interface PutSource {
  read(patience: Patience): UploadSource
  destroy(): void
}

/** @throws SCALE_STORAGE_OPTION where it is neither bytes nor a stream; SCALE_STORAGE_SOURCE_INCOMPLETE where it was read before */
export function putSource(body: PutBody, declaredType: string | undefined): PutSource {
  if (body instanceof Uint8Array) {
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
    let rest: Buffer | null = bytes.length > 0 ? bytes : null
    const next = async (): Promise<Buffer | null> => {
      const given = rest
      rest = null
      return given
    }
    return {
      read: () => singleFile({ declaredType, length: bytes.length, reader: { next, stop() {} } }),
      destroy() {},
    }
  }
  const stream = toStream(body)
  // Whoever reads it is told; a failure after that must not end the process.
  stream.on('error', () => {})
  return {
    read: (patience) => {
      const { next, stop } = createReader(stream, patience)
      return singleFile({
        declaredType,
        reader: {
          stop,
          next: () =>
            next().catch((error: unknown) => {
              // Its own error is the caller's to know; without one it was just closed.
              if (!stream.destroyed || stream.errored) throw error
              throw new SourceIncompleteError('the stream given to put() was closed before its end')
            }),
        },
      })
    },
    destroy: () => void stream.destroy(),
  }
}

function toStream(body: Exclude<PutBody, Uint8Array>): Readable {
  if (body instanceof Readable) {
    if (body.readableObjectMode) throw fail('put() takes a stream of bytes, not one of objects')
    if (body.destroyed || body.readableDidRead)
      throw new SourceIncompleteError('the stream given to put() was read or destroyed before')
    return body
  }
  if (typeof (body as Partial<AsyncIterable<Uint8Array>> | null)?.[Symbol.asyncIterator] === 'function')
    return Readable.from(body as AsyncIterable<Uint8Array>, { objectMode: false })
  throw fail('put() takes a Buffer, a Uint8Array or a stream of bytes')
}
