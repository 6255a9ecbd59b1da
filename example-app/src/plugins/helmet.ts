import helmet from '@fastify/helmet'
import fp from 'fastify-plugin'
import { contentSecurityPolicy } from '../csp.ts'

export default fp(async (app) => {
  await app.register(helmet, {
    contentSecurityPolicy: contentSecurityPolicy(app.config),
    hsts: app.config.NODE_ENV === 'production',
    crossOriginEmbedderPolicy: false, // pictures come from another origin
  })
})
