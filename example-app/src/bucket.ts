import type { Env } from './env.ts'

/** Where the bucket is, for a browser: on the server of S3_ENDPOINT, or else on AWS. */
export function bucketUrl(config: Pick<Env, 'S3_ENDPOINT' | 'S3_BUCKET' | 'S3_REGION'>): string {
  const { S3_ENDPOINT, S3_BUCKET, S3_REGION } = config
  if (S3_ENDPOINT) return `${S3_ENDPOINT.replace(/\/+$/, '')}/${S3_BUCKET}`
  const host = `s3.${S3_REGION}.amazonaws.com${S3_REGION.startsWith('cn-') ? '.cn' : ''}`
  // The certificate of AWS is good for one label: a bucket with a dot is in the path.
  return S3_BUCKET.includes('.') ? `https://${host}/${S3_BUCKET}` : `https://${S3_BUCKET}.${host}`
}
