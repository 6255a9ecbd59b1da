import fp from 'fastify-plugin'
import { contentSecurityPolicy } from '../csp.ts'
import { securityHeaders } from '../security-headers.ts'

export default fp(async (app) => {
  const headers = securityHeaders({
    contentSecurityPolicy: contentSecurityPolicy(app.config),
    strictTransportSecurity: app.config.NODE_ENV === 'production',
    crossOriginEmbedderPolicy: false, // pictures come from another origin
  })
  app.addHook('onRequest', function addSecurityHeaders(_request, reply, done) {
    reply.headers(headers)
    done()
  })
})
