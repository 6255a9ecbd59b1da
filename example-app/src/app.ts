import { hostname } from 'node:os'
import { fileURLToPath } from 'node:url'
import sensible from '@fastify/sensible'
import serveStatic from '@fastify/static'
import type { FastifyPluginAsync, FastifyServerOptions } from 'fastify'
import auth from './plugins/auth.ts'
import cache from './plugins/cache.ts'
import cluster from './plugins/cluster.ts'
import compress from './plugins/compress.ts'
import env from './plugins/env.ts'
import helmet from './plugins/helmet.ts'
import jobs from './plugins/jobs.ts'
import openapi from './plugins/openapi.ts'
import postgres from './db/postgres.ts'
import rateLimit from './plugins/rate-limit.ts'
import realtime from './plugins/realtime.ts'
import settings from './plugins/settings.ts'
import storage from './plugins/storage.ts'
import { announcePresence } from './presence.ts'
import admin from './routes/admin.ts'
import photos from './routes/photos.ts'
import session from './routes/session.ts'
import uploads from './routes/uploads.ts'
import thumbnails from './thumbnails.ts'
import './types.ts'

/** Options of the server, where the launcher or fastify-cli makes it. */
export const options: FastifyServerOptions = {
  trustProxy: process.env['TRUST_PROXY'] || 'loopback',
  // Fastify gives a plugin 10 s to load; a machine that is busy with other workers' requests may need longer.
  pluginTimeout: 60_000,
}

/** The photo board: an ordinary Fastify plugin. It does not know whether it runs alone or as many processes. */
const app: FastifyPluginAsync = async (fastify) => {
  await fastify.register(env)
  await fastify.register(sensible)
  await fastify.register(helmet)
  await fastify.register(rateLimit)
  await fastify.register(openapi)
  for (const plugin of [postgres, cluster, auth, compress, cache, storage, settings, realtime, jobs])
    await fastify.register(plugin)

  // Which process answered: the page shows it as a coloured dot, the tests count.
  const servedBy = `${hostname()}/${process.pid}`
  fastify.addHook('onRequest', function addServedBy(_request, reply, done) {
    reply.header('x-served-by', servedBy)
    done()
  })

  await fastify.register(thumbnails)
  for (const routes of [session, photos, uploads, admin]) await fastify.register(routes, { prefix: '/api' })
  await fastify.register(serveStatic, { root: fileURLToPath(new URL('public/', import.meta.url)) })
  announcePresence(fastify)
}

export default app
