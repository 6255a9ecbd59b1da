import { fileURLToPath } from 'node:url'
import scaleCluster from '@fastify-scale/cluster'
import sensible from '@fastify/sensible'
import serveStatic from '@fastify/static'
import type { FastifyPluginAsync, FastifyServerOptions } from 'fastify'
import auth from './plugins/auth.ts'
import cache from './plugins/cache.ts'
import compress from './plugins/compress.ts'
import env from './plugins/env.ts'
import postgres from './plugins/postgres.ts'
import realtime from './plugins/realtime.ts'
import storage from './plugins/storage.ts'
import photos from './routes/photos.ts'
import session from './routes/session.ts'
import './types.ts'

/** Options of the server, where the launcher or fastify-cli makes it. */
export const options: FastifyServerOptions = { trustProxy: 'loopback' }

/** The photo board: an ordinary Fastify plugin. It does not know whether it runs alone or as many processes. */
const app: FastifyPluginAsync = async (fastify) => {
  await fastify.register(env)
  await fastify.register(scaleCluster)
  await fastify.register(sensible)
  await fastify.register(postgres)
  await fastify.register(auth)
  await fastify.register(compress)
  await fastify.register(cache)
  await fastify.register(storage)
  await fastify.register(realtime)

  // Which process answered: the page and the tests show it.
  fastify.addHook('onSend', async function servedBy(_request, reply) {
    reply.header('x-served-by', String(process.pid))
  })

  await fastify.register(session, { prefix: '/api' })
  await fastify.register(photos, { prefix: '/api' })
  await fastify.register(serveStatic, { root: fileURLToPath(new URL('public/', import.meta.url)) })
}

export default app
