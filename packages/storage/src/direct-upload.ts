import type { S3Client } from '@aws-sdk/client-s3'
import { createPresignedPost } from '@aws-sdk/s3-presigned-post'
import { copyObject } from './copy.ts'
import { ChecksumError, NotFoundError } from './errors.ts'
import { type Examined, examine as examineObject, hashObject } from './examine.ts'
import { type SizeBound, makeKey, parsePending } from './keys.ts'
import { showBytes, tooLarge } from './meter.ts'
import { S3Error, toS3Error } from './s3-call.ts'
import { isAllowed } from './sniff.ts'
import { type StoredFile, type UploadDeps, type Visibility, objectParams, typeNotAllowed } from './upload.ts'

/** A form that a browser sends to S3 itself: all `fields`, then the file as the last field, named `file`. */
export interface DirectUpload {
  /** Where to POST it. */
  url: string
  fields: Record<string, string>
  /** Give it to `completeDirectUpload()`. Under `pending/` until then. */
  key: string
  /** When the form stops working, ISO 8601. */
  expiresAt: string
}

/** What `createDirectUpload` was asked for, checked. */
export interface DirectPlan {
  prefix: string
  visibility: Visibility
  /** Bytes. */
  maxBytes: number
  contentType?: string
  /** Hexadecimal, in lower case. */
  sha256?: string
  /** ms. */
  ttl: number
}

/**
 * Signs a POST form (AWS Signature Version 4 POST policy) that S3 itself holds to one key, one type and a largest size; the
 * bytes never come near this process.
 */
export async function signDirectUpload(deps: UploadDeps, presign: S3Client, plan: DirectPlan): Promise<DirectUpload> {
  const key = makeKey({
    prefix: plan.prefix,
    ext: '',
    private: plan.visibility === 'private',
    pending: { bytes: plan.maxBytes, exact: false },
    now: deps.now(),
    random: deps.random(),
  })
  const fields: Record<string, string> = {
    // Nothing under pending/ is ever shown by a browser, whatever the client says it is.
    'Content-Disposition': 'attachment',
    ...(plan.contentType !== undefined && { 'Content-Type': plan.contentType }),
    ...(plan.sha256 !== undefined && { 'x-amz-meta-sha256': plan.sha256 }),
  }
  const seconds = Math.max(1, Math.floor(plan.ttl / 1_000))
  const post = await createPresignedPost(presign, {
    Bucket: deps.bucket,
    Key: key,
    Expires: seconds,
    Fields: fields,
    // The library adds a condition for each field.
    Conditions: [['content-length-range', 0, plan.maxBytes]],
  }).catch((error: unknown) => {
    throw toS3Error(error)
  })
  return { url: post.url, fields: post.fields, key, expiresAt: new Date(deps.now() + seconds * 1_000).toISOString() }
}

/** A file that did not come through this process: its SHA-256 is known only where it was asked for or declared. */
export type CompletedFile = Omit<StoredFile, 'sha256'> & { sha256?: string }

/** What `completeDirectUpload` was asked for, checked. */
export interface CompletePlan {
  /** Bytes. Default: what was signed. */
  maxBytes?: number
  /** Bytes, where nothing is known of what was signed. */
  defaultMaxBytes: number
  allowedTypes?: readonly string[]
  /** Read the object once through this process to hash it, even where no hash was declared. */
  hash: boolean
}

/** The largest size that a completion lets through, in bytes. */
export function limitOf({ maxBytes, defaultMaxBytes }: CompletePlan, bound: SizeBound | undefined): number {
  if (bound === undefined) return maxBytes ?? defaultMaxBytes
  return Math.min(maxBytes ?? bound.bytes, bound.bytes)
}

/**
 * Takes an object out of `pending/`: looks what lies there, copies it to a key of its own, checks the copy, lets `persist` save
 * the URL, and removes the pending one. Where a check fails the pending object is removed; where S3 or `persist`
 * fails it stays, so that it can be tried again.
 *
 * The form can be used again while it is valid, so what is looked at under `pending/` may be replaced before it is copied,
 * and not every server honours If-Match on a copy: what counts is the copy, which nobody else can write. And each call makes a new
 * key: a second call at the same time never touches what the first one has saved.
 */
export async function completePending(
  deps: UploadDeps,
  pendingKey: string,
  plan: CompletePlan,
  persist: (file: CompletedFile) => unknown,
): Promise<CompletedFile> {
  const { bucket, cleanup } = deps
  const target = parsePending(pendingKey)
  if (!target) throw new NotFoundError('there is no such pending upload')

  const pending = await examine(deps, pendingKey)
  const refusal = refuse(pending, plan, target.bound)
  if (refusal) {
    await cleanup.discard({ key: pendingKey, uncertain: false })
    throw refusal
  }
  const { type, size, declaredSha256 } = pending
  const key = makeKey({
    prefix: target.prefix,
    ext: type.ext,
    private: target.private,
    now: deps.now(),
    random: deps.random(),
  })
  try {
    const params = objectParams(deps, key, type.contentType, target.private ? 'private' : 'public')
    const { etag } = await copyObject(deps, { key: pendingKey, etag: pending.etag, size }, params).catch(rethrow)
    const copy = await examine(deps, key)
    if (copy.size !== size || copy.type.contentType !== type.contentType) throw replaced()
    const hash = declaredSha256 !== undefined || plan.hash
    const sha256 = hash ? await hashObject(deps, key) : undefined
    if (declaredSha256 !== undefined && sha256 !== declaredSha256) {
      await cleanup.discard({ key: pendingKey, uncertain: false })
      throw new ChecksumError('the content is not what its declared SHA-256 says')
    }
    const file: CompletedFile = {
      url: deps.urls.url(key),
      key,
      bucket,
      size,
      contentType: type.contentType,
      etag,
      ...(sha256 !== undefined && { sha256 }),
    }
    await persist(file)
    await cleanup.discard({ key: pendingKey, uncertain: false })
    return file
  } catch (error) {
    await cleanup.discard({ key, uncertain: error instanceof S3Error })
    throw error
  }
}

const examine = (deps: UploadDeps, key: string): Promise<Examined> => examineObject(deps, key).catch(rethrow)

function refuse({ size, type }: Examined, plan: CompletePlan, bound: SizeBound | undefined): Error | undefined {
  const { allowedTypes } = plan
  const limit = limitOf(plan, bound)
  if (size > limit) return tooLarge(limit)
  if (bound?.exact && size !== bound.bytes)
    return new ChecksumError(`the file has ${showBytes(size)} and not the ${showBytes(bound.bytes)} that were declared`)
  if (allowedTypes === undefined || isAllowed(type.contentType, allowedTypes)) return undefined
  return typeNotAllowed(type.contentType, allowedTypes)
}

/** S3's answers that are the client's doing, as such. */
function rethrow(error: unknown): never {
  if (error instanceof S3Error && error.missing)
    throw new NotFoundError('there is no such pending upload: it was not sent, was completed already, or has expired')
  if (error instanceof S3Error && error.failure.status === 412) throw replaced()
  throw error
}

function replaced(): Error {
  return new ChecksumError('the upload was replaced while it was being completed; complete it again')
}
