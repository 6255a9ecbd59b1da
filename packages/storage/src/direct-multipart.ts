import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListPartsCommand,
  type Part,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { type CompletePlan, type DirectPlan, limitOf } from './direct-upload.ts'
import { IncompleteError, NotFoundError } from './errors.ts'
import { type SizeBound, makeKey, parsePending } from './keys.ts'
import { showBytes, tooLarge } from './meter.ts'
import { S3Error, toS3Error } from './s3-call.ts'
import type { UploadDeps } from './upload.ts'

/** One part of a large direct upload. */
export interface DirectPart {
  /** From 1. */
  partNumber: number
  /** PUT exactly these bytes of the file here. Works in any order, several at once, and again after a failure. */
  url: string
  /** Offset of the first byte. */
  start: number
  /** Offset after the last byte. */
  end: number
}

/** A large upload that a browser sends to S3 part by part. */
export interface DirectMultipart {
  /** Give both to `completeDirectUpload()`, or to `abortDirectMultipart()`. */
  key: string
  uploadId: string
  parts: DirectPart[]
  /** When the URLs stop working, ISO 8601. */
  expiresAt: string
}

const MIN_PART = 5 * 1_024 ** 2
/** More URLs than that make the answer larger than it is worth; parts grow instead. S3 allows 10,000. */
export const MAX_SIGNED_PARTS = 1_000

/**
 * Begins a multipart upload and signs a PUT for each part. Each URL is bound to the length of its part, which S3 holds the client
 * to; what lies there is checked again at completion.
 */
export async function signDirectMultipart(
  deps: UploadDeps,
  presign: S3Client,
  plan: DirectPlan & { size: number },
): Promise<DirectMultipart> {
  const { size } = plan
  if (size > plan.maxBytes) throw tooLarge(plan.maxBytes)
  const key = makeKey({
    prefix: plan.prefix,
    ext: '',
    private: plan.visibility === 'private',
    pending: { bytes: size, exact: true },
    now: deps.now(),
    random: deps.random(),
  })
  const target = { Bucket: deps.bucket, Key: key }
  const { UploadId: uploadId = '' } = await deps.call((o) =>
    deps.s3.send(
      new CreateMultipartUploadCommand({
        ...target,
        ContentDisposition: 'attachment',
        ContentType: plan.contentType,
        Metadata: plan.sha256 === undefined ? undefined : { sha256: plan.sha256 },
      }),
      o,
    ),
  )
  const partSize = Math.max(MIN_PART, Math.ceil(size / MAX_SIGNED_PARTS))
  const seconds = Math.max(1, Math.floor(plan.ttl / 1_000))
  const parts: DirectPart[] = []
  for (let start = 0; start < size || parts.length === 0; start += partSize) {
    const partNumber = parts.length + 1
    const end = Math.min(start + partSize, size)
    const url = await getSignedUrl(
      presign,
      new UploadPartCommand({ ...target, UploadId: uploadId, PartNumber: partNumber, ContentLength: end - start }),
      { expiresIn: seconds },
    ).catch((error: unknown) => {
      throw toS3Error(error)
    })
    parts.push({ partNumber, url, start, end })
  }
  return { key, uploadId, parts, expiresAt: new Date(deps.now() + seconds * 1_000).toISOString() }
}

/**
 * Puts the parts together under the pending key. The client need not report ETags: S3 is asked what it has. An upload that is not
 * there may have been put together by a completion that failed later: whether its object is there, the next step sees.
 *
 * @throws SCALE_STORAGE_TOO_LARGE where the parts are more than may be, after which the upload is gone;
 * SCALE_STORAGE_INCOMPLETE where some are missing, after which they can be sent; SCALE_STORAGE_NOT_FOUND where nothing was sent
 */
export async function joinParts(deps: UploadDeps, key: string, uploadId: string, plan: CompletePlan): Promise<void> {
  const pending = parsePending(key)
  if (!pending) throw new NotFoundError('there is no such pending upload')
  const target = { Bucket: deps.bucket, Key: key, UploadId: uploadId }
  const parts: Part[] = []
  let marker: string | undefined
  do {
    const page = await deps
      .call((o) => deps.s3.send(new ListPartsCommand({ ...target, PartNumberMarker: marker }), o))
      .catch(joinedBefore)
    if (page === undefined) return
    parts.push(...(page.Parts ?? []))
    marker = page.IsTruncated ? page.NextPartNumberMarker : undefined
  } while (marker !== undefined)
  if (parts.length === 0) throw new NotFoundError('nothing was sent for this upload')
  const limit = limitOf(plan, pending.bound)
  const size = parts.reduce((sum, part) => sum + (part.Size ?? 0), 0)
  if (size > limit) {
    await deps.cleanup.discard({ key, uploadId, uncertain: false })
    throw tooLarge(limit)
  }
  checkWhole(parts, size, pending.bound)
  await deps
    .call((o) =>
      deps.s3.send(
        new CompleteMultipartUploadCommand({
          ...target,
          MultipartUpload: { Parts: parts.map(({ ETag, PartNumber }) => ({ ETag, PartNumber })) },
        }),
        o,
      ),
    )
    .catch(joinedBefore)
}

/** S3 puts together whatever parts it is given, also a file with a hole in it. */
function checkWhole(parts: Part[], size: number, bound: SizeBound | undefined): void {
  const gap = parts.findIndex(({ PartNumber }, index) => PartNumber !== index + 1)
  if (gap < 0 && (bound === undefined || size === bound.bytes)) return
  const whole = bound === undefined ? '' : ` of ${showBytes(bound.bytes)}`
  throw new IncompleteError(
    `${showBytes(size)}${whole} were sent, and part ${(gap < 0 ? parts.length : gap) + 1} is missing: send what is missing, and complete it again`,
  )
}

/** Gives up a large direct upload; one that is not there is no error. */
export async function abortDirectMultipart(deps: UploadDeps, key: string, uploadId: string): Promise<void> {
  if (!parsePending(key)) throw new NotFoundError('there is no such pending upload')
  await deps
    .call((o) =>
      deps.s3.send(new AbortMultipartUploadCommand({ Bucket: deps.bucket, Key: key, UploadId: uploadId }), o),
    )
    .catch((error: unknown) => {
      if (!(error instanceof S3Error && error.missing)) throw error
    })
}

function joinedBefore(error: unknown): undefined {
  if (!(error instanceof S3Error && error.missing)) throw error
}
