import { GetBucketCorsCommand, PutBucketCorsCommand, type S3Client } from '@aws-sdk/client-s3'
import { type S3Call, S3Error } from './s3-call.ts'

const ID = 'fastify-scale-storage-direct'

/**
 * Lets pages of these origins send direct uploads to the bucket; other rules stay as they are.
 *
 * @param origins such as `https://app.example.com`
 */
export async function applyCors(s3: S3Client, call: S3Call, bucket: string, origins: string[]): Promise<void> {
  const { CORSRules: present = [] } = await call((o) => s3.send(new GetBucketCorsCommand({ Bucket: bucket }), o)).catch(
    (error: unknown) => {
      if (error instanceof S3Error && error.missing) return { CORSRules: [] }
      throw error
    },
  )
  const rule = {
    ID,
    AllowedOrigins: origins,
    AllowedMethods: ['GET', 'HEAD', 'POST', 'PUT'],
    AllowedHeaders: ['*'],
    ExposeHeaders: ['ETag'],
    MaxAgeSeconds: 3_600,
  }
  await call((o) =>
    s3.send(
      new PutBucketCorsCommand({
        Bucket: bucket,
        CORSConfiguration: { CORSRules: [...present.filter((one) => one.ID !== ID), rule] },
      }),
      o,
    ),
  )
}
