import scaleStorage from '@fastify-scale/storage'
import fp from 'fastify-plugin'
import { bucketUrl } from '../bucket.ts'
import { MAX_BYTES } from '../pictures.ts'

export default fp(async (app) => {
  const { config } = app
  await app.register(scaleStorage, {
    bucket: config.S3_BUCKET,
    region: config.S3_REGION,
    endpoint: config.S3_ENDPOINT,
    credentials: { accessKeyId: config.S3_ACCESS_KEY_ID, secretAccessKey: config.S3_SECRET_ACCESS_KEY },
    publicBaseUrl: config.PUBLIC_BASE_URL ?? bucketUrl(config),
    // A development server has no bucket policy that lets browsers read; in production the CDN may read the bucket.
    acl: Boolean(config.S3_ENDPOINT),
    maxBytes: MAX_BYTES,
  })
})
