import scaleJobs from '@fastify-scale/jobs'
import fp from 'fastify-plugin'

export default fp(async (app) => {
  await app.register(scaleJobs, {
    redis: app.config.REDIS_URL,
    prefix: 'board:jobs',
    queues: { images: { concurrency: 2 } },
  })
})
