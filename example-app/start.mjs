// npx pnpm start: real services where none are configured, then the photo board on every core.
import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startServices } from '@fastify-scale/dev-services'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

function fail(error) {
  process.stderr.write(`${error.message}\n`)
  process.exit(1)
}

// ^C reaches the launcher as well, which drains; the services go after it.
const running = { launcher: undefined, stopping: false }
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.on(signal, () => {
    if (!running.launcher) process.exit(1)
    if (signal !== 'SIGINT' || running.stopping) running.launcher.kill(signal)
    running.stopping = true
  })

const services = await startServices({
  redis: true,
  s3: true,
  postgres: true,
  onProgress: (line) => process.stderr.write(`${line}\n`),
}).catch(fail)

const env = { ...process.env, ...services.env }
// The SDK says so in every process; `engines` and the compatibility page say which versions of Node are supported.
env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true'
env.ADMIN_NAMES ??= 'admin'
// For development alone: sessions end with the services they are kept in.
env.JWT_SECRET ??= randomBytes(48).toString('base64')

if (!process.env.S3_ENDPOINT) {
  // A bucket of our own: thumbnails can be read by all, and pages may upload straight to it.
  const { values } = parseArgs({ options: { port: { type: 'string', short: 'p' } }, strict: false })
  const port = values.port ?? process.env.PORT ?? '3000'
  const bin = here('node_modules/@fastify-scale/storage/dist/cli.js')
  for (const args of [['public-read'], ['cors', `http://localhost:${port}`, `http://127.0.0.1:${port}`]])
    execFileSync(process.execPath, [bin, ...args], { env, stdio: ['ignore', 'ignore', 'inherit'] })
}

const launcher = spawn(
  process.execPath,
  [here('node_modules/@fastify-scale/cluster/dist/cli.js'), 'start', here('dist/app.js'), ...process.argv.slice(2)],
  { env, stdio: 'inherit' },
)
running.launcher = launcher
launcher.on('exit', async (code) => {
  await services.stop()
  process.exit(code ?? 1)
})
