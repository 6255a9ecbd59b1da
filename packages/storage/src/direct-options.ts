import { type Duration, type Size, checkKnown, parseDuration, parseSize } from '@fastify-scale/kit'
import { MAX_SIGNED_PARTS } from './direct-multipart.ts'
import type { CompletePlan, CompletedFile, DirectPlan } from './direct-upload.ts'
import { StorageOptionError } from './errors.ts'
import { type ResolvedDefaults, resolveDefaults } from './upload-options.ts'
import { MAX_PUT_BYTES } from './put-stream.ts'
import type { Visibility } from './upload.ts'

export interface DirectUploadOptions {
  /** Largest file; S3 refuses more. At most 5 GB, S3's limit for a form. Default: the plugin's `maxBytes`. */
  maxBytes?: Size
  /** The only Content-Type that the client may send. What the content really is, is told at completion. */
  contentType?: string
  /** SHA-256 of the file in hexadecimal, checked at completion by reading the object once. */
  sha256?: string
  /** As for `upload()`. */
  prefix?: string
  /** As for `upload()`. */
  visibility?: Visibility
  /** How long the form or the URLs work. Default 15 min, at most 7 days. */
  ttl?: Duration
}

export interface DirectMultipartOptions extends DirectUploadOptions {
  /** Size of the whole file, in bytes; completion refuses another. */
  size: number
}

export interface CompleteDirectUploadOptions {
  /** Saves the URL; if it throws, the copy is removed, the pending object stays, and completion can be tried again. */
  persist?: (file: CompletedFile) => unknown
  /** Of a large upload, from `createDirectMultipart()`. */
  uploadId?: string
  /** What is larger is removed. Default, and at most: what was signed. */
  maxBytes?: Size
  /** As for `upload()`; what is of another type is removed. */
  allowedTypes?: readonly string[]
  /** Read the object once to give its SHA-256 even where none was declared. Default false. */
  hash?: boolean
}

const DIRECT_KEYS = ['maxBytes', 'contentType', 'sha256', 'prefix', 'visibility', 'ttl']
const COMPLETE_KEYS = ['persist', 'uploadId', 'maxBytes', 'allowedTypes', 'hash']
const WEEK_MS = 7 * 24 * 3_600_000

const fail = (message: string): Error => new StorageOptionError(message)

/** @throws SCALE_STORAGE_OPTION */
export function resolveDirect(options: DirectUploadOptions, base: ResolvedDefaults): DirectPlan {
  checkKnown(options, DIRECT_KEYS, 'createDirectUpload()', fail)
  const plan = directPlan(options, base)
  if (plan.maxBytes > MAX_PUT_BYTES)
    throw fail("option 'maxBytes' of createDirectUpload() is more than 5 GB: use createDirectMultipart()")
  return plan
}

/** @throws SCALE_STORAGE_OPTION */
export function resolveDirectMultipart(
  options: DirectMultipartOptions,
  base: ResolvedDefaults,
): DirectPlan & { size: number } {
  checkKnown(options, [...DIRECT_KEYS, 'size'], 'createDirectMultipart()', fail)
  const size = parseSize(options.size, { name: 'size', min: 0, fail })
  if (size > MAX_SIGNED_PARTS * MAX_PUT_BYTES)
    throw fail(`option 'size' of createDirectMultipart() is more than S3 takes in ${MAX_SIGNED_PARTS} parts of 5 GB`)
  return { ...directPlan(options, base), size }
}

/** @throws SCALE_STORAGE_OPTION */
export function resolveComplete(
  options: CompleteDirectUploadOptions,
  base: ResolvedDefaults,
): CompletePlan & { uploadId?: string } {
  checkKnown(options, COMPLETE_KEYS, 'completeDirectUpload()', fail)
  const { maxBytes, allowedTypes } = resolveDefaults(
    { maxBytes: options.maxBytes, allowedTypes: options.allowedTypes },
    base,
  )
  const { uploadId, hash = false } = options
  if (uploadId !== undefined) checkUploadId(uploadId)
  return {
    maxBytes: options.maxBytes === undefined ? undefined : maxBytes,
    defaultMaxBytes: base.maxBytes,
    allowedTypes,
    uploadId,
    hash,
  }
}

/** Without one S3 would be asked for something else: to remove the object. @throws SCALE_STORAGE_OPTION */
export function checkUploadId(uploadId: unknown): void {
  if (typeof uploadId !== 'string' || uploadId === '')
    throw fail("option 'uploadId' must be the one that createDirectMultipart() gave")
}

function directPlan(options: DirectUploadOptions, base: ResolvedDefaults): DirectPlan {
  const { maxBytes, prefix, visibility } = resolveDefaults(
    { maxBytes: options.maxBytes, prefix: options.prefix, visibility: options.visibility },
    base,
  )
  const { contentType, sha256 } = options
  if (contentType !== undefined && !/^[a-z0-9.+-]+\/[a-z0-9.+-]+$/.test(contentType))
    throw fail("option 'contentType' must be a type like 'image/png'")
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256))
    throw fail("option 'sha256' must be 64 hexadecimal digits")
  return {
    prefix,
    visibility,
    maxBytes,
    contentType,
    sha256: sha256?.toLowerCase(),
    ttl: parseDuration(options.ttl ?? 900_000, { name: 'ttl', min: 1_000, max: WEEK_MS, fail }),
  }
}
