import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { type ObjectParams, completedEtag } from './put-parts.ts'
import type { UploadDeps } from './upload.ts'

/** S3's limit for one CopyObject: 5 GB. */
const MAX_COPY_BYTES = 5 * 1_024 ** 3
/** Bytes copied by one request of a larger copy. */
const PART_BYTES = 512 * 1_024 ** 2
/** How slowly S3 may copy, in bytes per ms: it answers when it is done. */
const COPY_RATE = (10 * 1_024 ** 2) / 1_000

/**
 * Copies an object inside the bucket, if it still is the one with that ETag; S3 moves the bytes. Up to 5 GB by one request, above
 * that in parts. Beside `requestTimeout`, S3 has a second for each 10 MB, and is asked once.
 *
 * @param limits for tests: where the parts begin, and their size
 */
export async function copyObject(
  { s3, call, bucket, requestTimeout }: Pick<UploadDeps, 's3' | 'call' | 'bucket' | 'requestTimeout'>,
  source: { key: string; etag: string; size: number },
  params: ObjectParams,
  limits: { single: number; part: number } = { single: MAX_COPY_BYTES, part: PART_BYTES },
): Promise<{ etag: string }> {
  const timeFor = (bytes: number): number => requestTimeout + bytes / COPY_RATE
  const from = { CopySource: `${bucket}/${source.key}`, CopySourceIfMatch: source.etag }
  if (source.size <= limits.single) {
    const { CopyObjectResult } = await call(
      (o) => s3.send(new CopyObjectCommand({ ...params, ...from, MetadataDirective: 'REPLACE' }), o),
      undefined,
      timeFor(source.size),
    )
    return { etag: CopyObjectResult?.ETag ?? '' }
  }
  const { UploadId } = await call((o) => s3.send(new CreateMultipartUploadCommand(params), o))
  const target = { Bucket: params.Bucket, Key: params.Key, UploadId }
  try {
    const parts: { ETag?: string; PartNumber: number }[] = []
    for (let start = 0; start < source.size; start += limits.part) {
      const end = Math.min(start + limits.part, source.size) - 1
      const PartNumber = parts.length + 1
      const { CopyPartResult } = await call(
        (o) =>
          s3.send(
            new UploadPartCopyCommand({ ...target, ...from, PartNumber, CopySourceRange: `bytes=${start}-${end}` }),
            o,
          ),
        undefined,
        timeFor(end - start),
      )
      parts.push({ ETag: CopyPartResult?.ETag, PartNumber })
    }
    const { ETag } = await call(
      (o) => s3.send(new CompleteMultipartUploadCommand({ ...target, MultipartUpload: { Parts: parts } }), o),
      undefined,
      timeFor(source.size),
    )
    return { etag: await completedEtag({ s3, call }, params, ETag) }
  } catch (error) {
    await call((o) => s3.send(new AbortMultipartUploadCommand(target), o)).catch(() => {})
    throw error
  }
}
