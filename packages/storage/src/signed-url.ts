import { GetObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { type Duration, parseDuration } from '@fastify-scale/kit'
import { StorageOptionError } from './errors.ts'
import { toS3Error } from './s3-call.ts'

export interface SignedUrlOptions {
  /** How long the URL works. Default 5 min, at most 7 days. */
  ttl?: Duration
  /** Have the browser save it under this name. Default: as the object was stored. */
  downloadAs?: string
}

const WEEK_MS = 7 * 24 * 3_600_000

/**
 * A URL with which anybody can GET one object for a while. It is a secret: keep it out of logs and shared caches. Range
 * requests work, since S3 answers them.
 */
export async function signedGet(
  presign: S3Client,
  bucket: string,
  key: string,
  options: SignedUrlOptions = {},
): Promise<string> {
  const ttl = parseDuration(options.ttl ?? 300_000, {
    name: 'ttl',
    min: 1_000,
    max: WEEK_MS,
    fail: (message) => new StorageOptionError(message),
  })
  const signed = getSignedUrl(
    presign,
    new GetObjectCommand({
      Bucket: bucket,
      Key: key,
      ResponseContentDisposition: options.downloadAs === undefined ? undefined : attachment(options.downloadAs),
    }),
    { expiresIn: Math.floor(ttl / 1_000) },
  )
  return signed.catch((error: unknown) => {
    // Credentials are fetched here; what failed there may tell too much.
    throw toS3Error(error)
  })
}

/** Content-Disposition with any file name (RFC 6266, RFC 8187). */
function attachment(name: string): string {
  const plain = name.replace(/[^\x20-\x7E]|["\\%]/g, '_')
  const encoded = encodeURIComponent(name.replace(/\p{Surrogate}/gu, '_')).replace(
    /['()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`
}
