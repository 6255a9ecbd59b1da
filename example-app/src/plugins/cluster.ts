import scaleCluster from '@fastify-scale/cluster'
import fp from 'fastify-plugin'

export default fp(async (app) => {
  await app.register(scaleCluster, { redis: app.config.REDIS_URL, name: 'photo-board' })
})
