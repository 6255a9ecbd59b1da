import { HeadBucketCommand, ListObjectsV2Command, type S3Client } from '@aws-sdk/client-s3'
import { NotReadyError } from './errors.ts'
import { type S3Call, toS3Error } from './s3-call.ts'

/**
 * Checks that the bucket is there and may be used. The message names the bucket and what is missing, and nothing
 * that S3 or the SDK said beyond an error's name: their texts can hold keys and signatures.
 *
 * @throws SCALE_STORAGE_NOT_READY
 */
export async function checkBucket(s3: S3Client, call: S3Call, bucket: string, server: string): Promise<void> {
  try {
    await call((options) => s3.send(new HeadBucketCommand({ Bucket: bucket }), options))
  } catch (error) {
    throw new NotReadyError(await explain(error))
  }

  async function explain(error: unknown): Promise<string> {
    const { reason, status } = toS3Error(error).failure
    const at = `bucket '${bucket}' at ${server}`
    if (status === 404) return `${at} does not exist: create it, or correct the option 'bucket'`
    if (status === 301 || reason === 'PermanentRedirect')
      return `${at} is in another region: correct the option 'region'`
    if (reason === 'CredentialsProviderError')
      return `no credentials for ${at}: pass the option 'credentials', or set what the AWS SDK reads`
    if (status === 401 || status === 403 || status === 400) {
      // A HEAD has no body to say why.
      const why = await call((options) =>
        s3.send(new ListObjectsV2Command({ Bucket: bucket, MaxKeys: 1 }), options),
      ).then(
        () => 'AccessDenied',
        (cause: unknown) => toS3Error(cause).failure.reason,
      )
      if (why === 'InvalidAccessKeyId') return `${at} refused the access key: it is not known there (${why})`
      if (why === 'SignatureDoesNotMatch') return `${at} refused the secret access key: the signature is wrong (${why})`
      return `${at} may not be used with these credentials: they lack permission (${why})`
    }
    if (status === undefined) return `${at} can't be reached (${reason})`
    return `${at} can't be used: the server answered ${status} (${reason})`
  }
}
