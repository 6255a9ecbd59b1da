import { openConnections } from '@fastify-scale/kit'
import rateLimit from '@fastify/rate-limit'
import fp from 'fastify-plugin'

export default fp(async (app) => {
  const { REDIS_URL } = app.config
  const connections = await openConnections({ packageName: 'photo-board', redis: REDIS_URL, host: {}, log: app.log })
  // A counter that Redis does not answer within 100 ms does not hold a login back: the limit is off for that moment.
  const redis = await connections.command({ timeout: 100, name: 'rate-limit' })
  await app.register(rateLimit, { global: false, redis, nameSpace: 'board:limit:', skipOnError: true })
  app.addHook('onClose', () => connections.close())
})
