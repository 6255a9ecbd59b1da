import { GetBucketPolicyCommand, PutBucketPolicyCommand, type S3Client } from '@aws-sdk/client-s3'
import { PENDING, PRIVATE } from './keys.ts'
import { type S3Call, S3Error } from './s3-call.ts'

const SID = 'FastifyScaleStoragePublicRead'

/**
 * Opens the bucket for reading, except what lies under `private/` and `pending/`; other statements of the policy stay. For
 * buckets that are read without a CDN in front.
 */
export async function applyPublicRead(s3: S3Client, call: S3Call, bucket: string): Promise<void> {
  const { Policy } = await call((o) => s3.send(new GetBucketPolicyCommand({ Bucket: bucket }), o)).catch(
    (error: unknown) => {
      if (error instanceof S3Error && error.missing) return { Policy: undefined }
      throw error
    },
  )
  type Statement = { Sid?: string }
  const policy = JSON.parse(Policy ?? '{}') as { Version?: string; Statement?: Statement | Statement[] }
  // One alone may stand without a list.
  const present = [policy.Statement ?? []].flat()
  const objects = `arn:aws:s3:::${bucket}/`
  const statement = {
    Sid: SID,
    Effect: 'Allow',
    Principal: '*',
    Action: 's3:GetObject',
    NotResource: [`${objects}${PRIVATE}*`, `${objects}${PENDING}*`],
  }
  await call((o) =>
    s3.send(
      new PutBucketPolicyCommand({
        Bucket: bucket,
        Policy: JSON.stringify({
          Version: policy.Version ?? '2012-10-17',
          Statement: [...present.filter((one) => one.Sid !== SID), statement],
        }),
      }),
      o,
    ),
  )
}
