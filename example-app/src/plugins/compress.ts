import scaleCompress from '@fastify-scale/compress'
import fp from 'fastify-plugin'

export default fp(async (app) => {
  await app.register(scaleCompress)
})
