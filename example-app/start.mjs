// npx pnpm start: real services where none are configured, then the photo board on every core.
import { spawn } from 'node:child_process'
import { parseArgs } from 'node:util'
import { appModule, launcherCommand, startBoardServices } from './services.mjs'

const say = (line) => process.stderr.write(`${line}\n`)

// ^C reaches the launcher as well, which drains; the services go after it.
const running = { launcher: undefined, stopping: false }
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.on(signal, () => {
    if (!running.launcher) process.exit(1)
    if (signal !== 'SIGINT' || running.stopping) running.launcher.kill(signal)
    running.stopping = true
  })

// Everything else on the command line is the launcher's.
const { values } = parseArgs({ options: { port: { type: 'string', short: 'p' } }, strict: false })
const port = values.port ?? process.env.PORT ?? '3000'
const services = await startBoardServices({ port, onProgress: say }).catch((error) => {
  say(error.message)
  process.exit(1)
})
say(`Open http://localhost:${port} and sign up as '${services.env.ADMIN_NAMES.split(',')[0]}' to be the admin.`)

const launcher = spawn(
  process.execPath,
  [launcherCommand, 'start', appModule, ...process.argv.slice(2).filter((arg) => arg !== '--')],
  {
    env: services.env,
    stdio: 'inherit',
  },
)
running.launcher = launcher
launcher.on('exit', async (code) => {
  await services.stop()
  process.exit(code ?? 1)
})
