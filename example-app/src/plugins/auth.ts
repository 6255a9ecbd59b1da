import scaleAuth from '@fastify-scale/auth'
import fp from 'fastify-plugin'

export default fp(async (app) => {
  await app.register(scaleAuth, {
    secret: app.config.JWT_SECRET,
    issuer: 'photo-board',
    audience: 'photo-board',
    sessions: { redis: app.config.REDIS_URL },
  })
})
