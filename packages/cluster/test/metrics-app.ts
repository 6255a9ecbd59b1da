import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, expect } from 'vitest'
import scaleCluster, { type ScaleClusterOptions } from '../src/index.ts'

/** Closed after each test. */
export const apps: FastifyInstance[] = []
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()))
})

/** An app with routes of all kinds and its metrics below `/-`. */
export async function start(options: ScaleClusterOptions = {}): Promise<FastifyInstance> {
  const app = Fastify()
  apps.push(app)
  // Also routes that were there before the plugin are counted.
  app.get('/early', async () => 'early')
  await app.register(scaleCluster, { mount: '/-', ...options })
  app.get('/users/:id', async () => 'hello')
  app.get('/broken', async () => {
    throw new Error('broken')
  })
  app.get('/401', { onRequest: async (_, reply) => reply.code(401).send('no') }, async () => 'never')
  app.route({ method: ['POST', 'PUT'], url: '/both', handler: async () => 'both' })
  await app.ready()
  return app
}

/** The value of one line of the Prometheus text; undefined where it is not there. */
export function valueOf(text: string, line: string): number | undefined {
  const found = text.split('\n').find((one) => one.startsWith(`${line} `))
  return found === undefined ? undefined : Number(found.slice(line.length))
}

/** The Prometheus text that an app serves. */
export async function scrape(app: FastifyInstance): Promise<string> {
  const response = await app.inject('/-/metrics')
  expect(response.statusCode, response.body).toBe(200)
  expect(response.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8')
  return response.body
}
