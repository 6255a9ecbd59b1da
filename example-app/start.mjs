// npx pnpm start: real services where none are configured, then the photo board on every core.
import { parseArgs } from 'node:util'
import { spawnGuarded } from '@fastify-scale/dev-services'
import { appModule, launcherCommand, startBoardServices } from './services.mjs'

const say = (line) => process.stderr.write(`${line}\n`)

let onSignal = () => process.exit(1)
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => onSignal(signal))

// Everything else on the command line is the launcher's. pnpm hands a `--` on.
const args = process.argv.slice(2).filter((arg) => arg !== '--')
const { values } = parseArgs({ args, options: { port: { type: 'string', short: 'p' } }, strict: false })
const port = values.port ?? (process.env.PORT || '3000')
const services = await startBoardServices({ port, onProgress: say }).catch((error) => {
  say(error.message)
  process.exit(1)
})
say(`Open http://localhost:${port} and sign up as '${services.env.ADMIN_NAMES.split(',')[0]}' to be the admin.`)

// In a process group of its own, and gone when this process goes, however it goes.
const launcher = spawnGuarded(process.execPath, [launcherCommand, 'start', appModule, ...args], {
  env: services.env,
  stdio: 'inherit',
})
// Signals reach it from here alone, each of them: one ^C drains, a second one ends all at once. To a launcher without a
// terminal SIGHUP means reload; here a terminal was closed.
onSignal = (signal) => launcher.kill(signal === 'SIGHUP' ? 'SIGTERM' : signal)
launcher.on('exit', async (code) => {
  await services.stop()
  process.exit(code ?? 1)
})
