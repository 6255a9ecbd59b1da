import scaleStorage from '@fastify-scale/storage'
import fp from 'fastify-plugin'

export default fp(async (app) => {
  const { config } = app
  await app.register(scaleStorage, {
    bucket: config.S3_BUCKET,
    region: config.S3_REGION,
    endpoint: config.S3_ENDPOINT,
    credentials: { accessKeyId: config.S3_ACCESS_KEY_ID, secretAccessKey: config.S3_SECRET_ACCESS_KEY },
    publicBaseUrl: config.PUBLIC_BASE_URL ?? `${config.S3_ENDPOINT}/${config.S3_BUCKET}`,
    // A development server has no bucket policy that lets browsers read; in production the CDN may read the bucket.
    acl: Boolean(config.S3_ENDPOINT),
    maxBytes: '25MB',
  })
})
