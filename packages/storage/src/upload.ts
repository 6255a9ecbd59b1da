import type { S3Client } from '@aws-sdk/client-s3'
import type { BufferPool } from './buffers.ts'
import type { Cleanup } from './cleanup.ts'
import { NoFileError, TooLargeError, TooManyFilesError, TypeNotAllowedError } from './errors.ts'
import { makeKey } from './keys.ts'
import { createMeter, tooLarge } from './meter.ts'
import { type ObjectParams, type PutTrace, putParts } from './put-parts.ts'
import { MAX_PUT_BYTES, putStream } from './put-stream.ts'
import { type NextChunk, peek } from './reader.ts'
import { type S3Call, S3Error } from './s3-call.ts'
import { SNIFF_BYTES, isActive, isAllowed, sniff } from './sniff.ts'
import type { IncomingFile, UploadSource } from './source.ts'
import type { Urls } from './urls.ts'

/** A stored file. */
export interface StoredFile {
  /** Absolute; the only thing that needs saving. */
  url: string
  key: string
  bucket: string
  /** Bytes. */
  size: number
  /** Told from the content. */
  contentType: string
  /** Hexadecimal. */
  sha256: string
  /** As S3 gave it, with its quotes. */
  etag: string
}

/** How far an upload is. */
export interface UploadProgress {
  /** Bytes of this file that arrived. */
  loaded: number
  /** Bytes of the whole file, where the client said so before. */
  total?: number
}

export type Visibility = 'public' | 'private'

/** Everything decided about one upload, checked. */
export interface UploadPlan {
  prefix: string
  /** Bytes, for each file. */
  maxBytes: number
  allowedTypes?: readonly string[]
  visibility: Visibility
  /** Store under pending/, for a later `completeDirectUpload`. */
  pending: boolean
  /** Undefined: exactly one. */
  maxFiles: number
  onProgress?: (progress: UploadProgress) => void
}

export interface UploadDeps {
  s3: S3Client
  brief: S3Client
  call: S3Call
  bucket: string
  urls: Urls
  pool: BufferPool
  queueSize: number
  signPayload: boolean
  /** ms. */
  requestTimeout: number
  cleanup: Cleanup
  /** Set object ACLs too, for servers where a bucket policy is not used. */
  acl: boolean
  now: () => number
  random: () => Uint8Array
}

/**
 * Stores all files of a source, then persists them, all or nothing: whatever fails, the body, S3 or `persist`, every object
 * that was made is removed.
 *
 * @param stop ends the upload; its reason is what is thrown
 * @param stored called when everything is in S3, before `persist`
 */
export async function uploadAll(
  deps: UploadDeps,
  plan: UploadPlan,
  source: UploadSource,
  stop: AbortController,
  persist: (files: StoredFile[], fields: URLSearchParams) => unknown,
  stored: () => void,
): Promise<StoredFile[]> {
  const files: StoredFile[] = []
  const fields = new URLSearchParams()
  try {
    for (let part = await source.next(); part !== null; part = await source.next()) {
      if (part.type === 'field') fields.append(part.name, part.value)
      else if (files.length >= plan.maxFiles)
        throw new TooManyFilesError(
          plan.maxFiles === 1 ? 'only one file may be sent' : `only ${plan.maxFiles} files may be sent`,
        )
      else files.push(await storeFile(deps, plan, part, stop))
      stop.signal.throwIfAborted()
    }
    if (files.length === 0) throw new NoFileError('the request has no file')
    stored()
    await persist(files, fields)
    return files
  } catch (error) {
    await Promise.all(files.map(({ key }) => deps.cleanup.discard({ key, uncertain: false })))
    throw error
  }
}

/** Stores one file: sniff, then meter and hash while it streams. Leaves nothing where it throws. */
async function storeFile(
  deps: UploadDeps,
  plan: UploadPlan,
  file: IncomingFile,
  stop: AbortController,
): Promise<StoredFile> {
  const { maxBytes, onProgress } = plan
  const trace: PutTrace = { touched: false }
  let key = ''
  try {
    if (file.length !== undefined && file.length > maxBytes) throw tooLarge(maxBytes)
    const { head, chunks, next } = await peek(file.reader.next, SNIFF_BYTES)
    const type = await sniff(head, file.declaredType)
    if (plan.allowedTypes && !isAllowed(type.contentType, plan.allowedTypes))
      throw typeNotAllowed(type.contentType, plan.allowedTypes)
    key = makeKey({
      prefix: plan.prefix,
      ext: type.ext,
      private: plan.visibility === 'private',
      pending: plan.pending ? { bytes: maxBytes, exact: false } : undefined,
      now: deps.now(),
      random: deps.random(),
    })
    const meter = createMeter(maxBytes)
    const see = (chunk: Buffer): void => {
      meter.add(chunk)
      onProgress?.({ loaded: meter.bytes, total: file.length })
    }
    const metered: NextChunk = async () => {
      const chunk = await next()
      if (chunk === null) {
        if (file.isTruncated?.())
          throw new TooLargeError('the file was cut off by the limits of the form parser that read it')
        return null
      }
      see(chunk)
      return chunk
    }
    const params = objectParams(deps, key, type.contentType, plan.pending ? 'private' : plan.visibility)
    if (plan.pending) params.ContentDisposition = 'attachment'
    const { length, reader } = file
    const { etag } =
      reader.flow && length !== undefined && length <= MAX_PUT_BYTES && length > 0
        ? await putStream(deps, params, { first: chunks, flow: reader.flow, length, see }, trace, stop)
        : await putParts(deps, params, metered, meter.sha256, trace, stop)
    if (trace.begunAgain) await deps.cleanup.discard({ key, uncertain: true, keepObject: true })
    return {
      url: deps.urls.url(key),
      key,
      bucket: deps.bucket,
      size: meter.bytes,
      contentType: type.contentType,
      sha256: meter.sha256(),
      etag,
    }
  } catch (error) {
    const nothingMade = !trace.touched || (trace.uploadId === undefined && error instanceof S3Error && error.refused)
    if (!nothingMade) await deps.cleanup.discard({ key, uploadId: trace.uploadId, uncertain: true })
    throw error
  } finally {
    file.reader.stop()
  }
}

export function typeNotAllowed(contentType: string, allowedTypes: readonly string[]): Error {
  return new TypeNotAllowedError(
    `files of type ${contentType} are not allowed here; allowed are ${allowedTypes.join(', ')}`,
  )
}

/** How an object is served: for ever where its key never changes its content, and never as a page. */
export function objectParams(
  deps: Pick<UploadDeps, 'bucket' | 'acl'>,
  key: string,
  contentType: string,
  visibility: Visibility,
): ObjectParams {
  return {
    Bucket: deps.bucket,
    Key: key,
    ContentType: contentType,
    CacheControl: visibility === 'public' ? 'public, max-age=31536000, immutable' : 'private, no-cache',
    ...(isActive(contentType) && { ContentDisposition: 'attachment' }),
    ...(deps.acl && { ACL: visibility === 'public' ? 'public-read' : 'private' }),
  }
}
