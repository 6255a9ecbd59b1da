import scaleCache from '@fastify-scale/cache'
import fp from 'fastify-plugin'

export default fp(async (app) => {
  await app.register(scaleCache, {
    redis: app.config.REDIS_URL,
    prefix: 'board:',
    ttl: '1m',
    // A photo that is stored is worth a wait: lists show it only when they have been invalidated.
    invalidateTimeout: '3s',
  })
})
