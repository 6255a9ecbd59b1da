import { openConnections } from '@fastify-scale/kit'
import helmet from '@fastify/helmet'
import rateLimit from '@fastify/rate-limit'
import fp from 'fastify-plugin'

export default fp(async (app) => {
  const { S3_ENDPOINT, PUBLIC_BASE_URL, NODE_ENV } = app.config
  const media = [PUBLIC_BASE_URL, S3_ENDPOINT].filter((url) => url !== undefined).map((url) => new URL(url).origin)
  await app.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        scriptSrc: ["'self'", ...media],
        styleSrc: ["'self'", ...media],
        imgSrc: ["'self'", 'data:', 'blob:', ...media],
        // 'self' covers the websocket of this origin (CSP level 3); the rest is for direct uploads.
        connectSrc: ["'self'", ...media],
        formAction: ["'self'"],
        baseUri: ["'none'"],
        frameAncestors: ["'none'"],
      },
    },
    hsts: NODE_ENV === 'production',
    // Pictures come from another origin.
    crossOriginEmbedderPolicy: false,
  })
  // A counter that Redis does not answer within 100 ms does not hold a login back: the limit is off for that moment.
  const connections = await openConnections({
    packageName: 'photo-board',
    redis: app.config.REDIS_URL,
    host: {},
    log: app.log,
  })
  const redis = await connections.command({ timeout: 100, name: 'rate-limit' })
  await app.register(rateLimit, { global: false, redis, nameSpace: 'board:limit:', skipOnError: true })
  app.addHook('onClose', () => connections.close())
})
