import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { GetObjectCommand, HeadObjectCommand } from '@aws-sdk/client-s3'
import { S3Error, timeout, toS3Error } from './s3-call.ts'
import { SNIFF_BYTES, type SniffedType, sniff } from './sniff.ts'
import type { UploadDeps } from './upload.ts'

type Deps = Pick<UploadDeps, 's3' | 'call' | 'bucket' | 'requestTimeout'>

/** What lies under a key. */
export interface Examined {
  /** Bytes. */
  size: number
  etag: string
  type: SniffedType
  /** The SHA-256 that its direct upload was bound to, in hexadecimal. */
  declaredSha256?: string
}

/** Looks at the first bytes of an object, and at what is known of all of it, in one request. */
export async function examine(deps: Deps, key: string): Promise<Examined> {
  const object = { Bucket: deps.bucket, Key: key }
  try {
    return await deps.call(async (o) => {
      const got = await deps.s3.send(new GetObjectCommand({ ...object, Range: `bytes=0-${SNIFF_BYTES - 1}` }), o)
      const head = Buffer.from((await got.Body?.transformToByteArray()) ?? [])
      return {
        // bytes 0-4099/52000
        size: Number(got.ContentRange?.split('/')[1] ?? head.length),
        etag: got.ETag ?? '',
        type: await sniff(head, got.ContentType),
        declaredSha256: got.Metadata?.['sha256'],
      }
    })
  } catch (error) {
    // An empty object has no first byte.
    if (!(error instanceof S3Error && error.failure.status === 416)) throw error
    const head = await deps.call((o) => deps.s3.send(new HeadObjectCommand(object), o))
    return {
      size: head.ContentLength ?? 0,
      etag: head.ETag ?? '',
      type: await sniff(Buffer.alloc(0)),
      declaredSha256: head.Metadata?.['sha256'],
    }
  }
}

/** Reads an object once for its SHA-256, in hexadecimal; the deadline is for each chunk, since objects may be large. */
export async function hashObject(deps: Deps, key: string): Promise<string> {
  const hash = createHash('sha256')
  const { Body } = await deps.call((o) => deps.s3.send(new GetObjectCommand({ Bucket: deps.bucket, Key: key }), o))
  if (!(Body instanceof Readable)) return hash.digest('hex')
  const silence = setTimeout(() => Body.destroy(timeout()), deps.requestTimeout)
  try {
    for await (const chunk of Body) {
      silence.refresh()
      hash.update(chunk as Buffer)
    }
  } catch (error) {
    throw toS3Error(error)
  } finally {
    clearTimeout(silence)
  }
  return hash.digest('hex')
}
