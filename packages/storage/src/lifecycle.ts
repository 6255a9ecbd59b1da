import {
  GetBucketLifecycleConfigurationCommand,
  type LifecycleRule,
  PutBucketLifecycleConfigurationCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { PENDING } from './keys.ts'
import { type S3Call, S3Error } from './s3-call.ts'

/** What the bucket has to do when no process of ours is there to: abort forgotten parts, empty `pending/`. */
export const LIFECYCLE_RULES: readonly LifecycleRule[] = [
  {
    ID: 'fastify-scale-storage-parts',
    Status: 'Enabled',
    Filter: { Prefix: '' },
    AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 },
  },
  {
    ID: 'fastify-scale-storage-pending',
    Status: 'Enabled',
    Filter: { Prefix: PENDING },
    Expiration: { Days: 1 },
  },
]

/**
 * Puts our rules into the bucket's lifecycle and leaves all others as they are.
 *
 * @returns the IDs of the rules that the bucket has now
 */
export async function applyLifecycle(s3: S3Client, call: S3Call, bucket: string): Promise<string[]> {
  const ours = new Set(LIFECYCLE_RULES.map((rule) => rule.ID))
  const { Rules: present = [] } = await call((o) =>
    s3.send(new GetBucketLifecycleConfigurationCommand({ Bucket: bucket }), o),
  ).catch((error: unknown) => {
    if (error instanceof S3Error && error.missing) return { Rules: [] }
    throw error
  })
  const rules = [...present.filter((rule) => !ours.has(rule.ID)), ...LIFECYCLE_RULES]
  await call((o) =>
    s3.send(
      new PutBucketLifecycleConfigurationCommand({ Bucket: bucket, LifecycleConfiguration: { Rules: rules } }),
      o,
    ),
  )
  return rules.map((rule) => rule.ID ?? '')
}
