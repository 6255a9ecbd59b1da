import scaleAuth from '@fastify-scale/auth'
import fp from 'fastify-plugin'

export default fp(async (app) => {
  await app.register(scaleAuth, {
    secret: app.config.JWT_SECRET,
    issuer: 'photo-board',
    sessions: { redis: app.config.REDIS_URL },
    cookies: { refreshPath: '/api/session', origins: app.config.PUBLIC_ORIGIN ? [app.config.PUBLIC_ORIGIN] : [] },
  })
})
