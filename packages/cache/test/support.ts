import Fastify, { type FastifyInstance } from 'fastify'
import { type ScaleCacheOptions, scaleCache } from '../src/index.ts'

let count = 0

/** A prefix of its own for each test. */
export const uniquePrefix = (): string => `t${process.pid}-${Date.now().toString(36)}-${++count}`

/** A ready app with a cache; close it. */
export async function appWith(
  options: ScaleCacheOptions,
  setup?: (app: FastifyInstance) => void,
): Promise<FastifyInstance> {
  const app = Fastify({ logger: process.env.DEBUG_LOG ? true : false })
  // Room for a busy machine; the tests of outages take the default.
  await app.register(scaleCache, { commandTimeout: '1s', ...options })
  setup?.(app)
  await app.ready()
  return app
}
