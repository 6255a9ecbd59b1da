// What both start scripts need: real services where none are configured, and the environment of the application.
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { startServices } from '@fastify-scale/dev-services'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

export const launcherCommand = here('node_modules/@fastify-scale/cluster/dist/cli.js')
export const appModule = here('dist/app.js')
const storageCommand = here('node_modules/@fastify-scale/storage/dist/cli.js')

/**
 * Starts what the environment does not name. `port` is where browsers reach the board: its pages may upload straight to
 * the bucket.
 */
export async function startBoardServices({ port, environment = process.env, onProgress }) {
  const services = await startServices({ redis: true, s3: true, postgres: true, env: environment, onProgress })
  // An empty variable is one that is not set.
  const set = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''))
  const env = { ...set, ...services.env }
  // The SDK says so in every process; `engines` and the compatibility page say which versions of Node are supported.
  env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true'
  env.ADMIN_NAMES ??= 'admin'
  // For development alone: sessions end with the services they are kept in.
  env.JWT_SECRET ??= randomBytes(48).toString('base64')
  if (!environment.S3_ENDPOINT)
    // A bucket of our own: thumbnails can be read by all.
    for (const args of [['public-read'], ['cors', `http://localhost:${port}`, `http://127.0.0.1:${port}`]])
      await promisify(execFile)(process.execPath, [storageCommand, ...args], { env })
  return { env, stop: () => services.stop() }
}
