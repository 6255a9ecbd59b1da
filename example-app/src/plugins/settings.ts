import scaleSettings from '@fastify-scale/settings'
import fp from 'fastify-plugin'

export default fp(async (app) => {
  await app.register(scaleSettings, {
    redis: app.config.REDIS_URL,
    prefix: 'board:',
    schema: { banner: { type: 'string', maxLength: 200, default: '' } },
  })
})
