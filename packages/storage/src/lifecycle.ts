import {
  GetBucketLifecycleConfigurationCommand,
  type GetBucketLifecycleConfigurationCommandOutput,
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
 * Puts our rules into the bucket's lifecycle and leaves all others as they are. Nothing is written where those can't be read.
 *
 * @returns the IDs of the rules that the bucket has now, as it says itself
 */
export async function applyLifecycle(s3: S3Client, call: S3Call, bucket: string): Promise<string[]> {
  const ours = new Set(LIFECYCLE_RULES.map((rule) => rule.ID))
  const { Rules: present = [], TransitionDefaultMinimumObjectSize } = await readLifecycle(s3, call, bucket)
  const others = present.filter((rule) => !ours.has(rule.ID)).map(asFilter)
  await call((o) =>
    s3.send(
      new PutBucketLifecycleConfigurationCommand({
        Bucket: bucket,
        LifecycleConfiguration: { Rules: [...others, ...LIFECYCLE_RULES] },
        // Left out it would be set back.
        TransitionDefaultMinimumObjectSize,
      }),
      o,
    ),
  )
  const { Rules: now = [] } = await readLifecycle(s3, call, bucket)
  return now.map((rule) => rule.ID ?? '')
}

async function readLifecycle(
  s3: S3Client,
  call: S3Call,
  bucket: string,
): Promise<Pick<GetBucketLifecycleConfigurationCommandOutput, 'Rules' | 'TransitionDefaultMinimumObjectSize'>> {
  try {
    return await call((o) => s3.send(new GetBucketLifecycleConfigurationCommand({ Bucket: bucket }), o))
  } catch (error) {
    if (error instanceof S3Error && error.missing) return {}
    throw error
  }
}

/** A rule of the old form, whose prefix is not in a filter, can't stand beside rules of the new one. */
function asFilter({ Prefix, ...rule }: LifecycleRule): LifecycleRule {
  return Prefix === undefined || rule.Filter !== undefined ? rule : { ...rule, Filter: { Prefix } }
}
