import { gunzipSync } from 'node:zlib'
import Fastify, { type FastifyInstance, type FastifyServerOptions, type LightMyRequestResponse } from 'fastify'
import { afterEach } from 'vitest'
import scaleCompress, { type CompressOptions } from '../src/index.ts'

const apps: FastifyInstance[] = []

afterEach(async () => {
  for (const app of apps.splice(0)) {
    // A test that failed may have left an answer open.
    app.server.closeAllConnections()
    await app.close()
  }
})

/** A service with the plugin, closed after the test. */
export async function createApp(
  options: CompressOptions = {},
  server: FastifyServerOptions = {},
): Promise<FastifyInstance> {
  const app = bareApp(server)
  await app.register(scaleCompress, options)
  return app
}

export function bareApp(server: FastifyServerOptions = {}): FastifyInstance {
  const app = Fastify(server)
  apps.push(app)
  return app
}

export const GZIP = { 'accept-encoding': 'gzip' }

/** Text that compresses well, of `bytes` bytes. */
export function text(bytes: number): string {
  return 'All work and no play makes Jack a dull boy. '.repeat(Math.ceil(bytes / 44)).slice(0, bytes)
}

/** The body as the client understands it; fails where the encoding named is not the one used. */
export function decode(response: LightMyRequestResponse): string {
  const encoding = response.headers['content-encoding']
  return (encoding === 'gzip' ? gunzipSync(response.rawPayload) : response.rawPayload).toString()
}
