// npx pnpm start:two-hosts: two launchers with shared services, behind nginx.
import { parseArgs } from 'node:util'
import { startTwoHosts } from './two-hosts.mjs'

const say = (line) => process.stderr.write(`${line}\n`)
/** npx and pnpm pass on what the terminal has sent already. */
const SAME_SIGNAL_MS = 200

// While it starts, all that was started goes with this process.
let onSignal = () => process.exit(1)
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => onSignal())

let board
let port
try {
  const { values } = parseArgs({
    // pnpm hands a `--` on.
    args: process.argv.slice(2).filter((arg) => arg !== '--'),
    options: { port: { type: 'string', short: 'p' }, workers: { type: 'string', short: 'w' } },
  })
  port = Number(values.port ?? (process.env.PORT || 3000))
  board = await startTwoHosts({
    port,
    workers: values.workers ?? '2',
    onProgress: say,
    onOutput: (name, text) => process.stdout.write(text.replaceAll(/^(?=.)/gm, `${name}  `)),
  })
} catch (error) {
  say(error.message)
  process.exit(1)
}
const [a, b] = board.hosts
say(
  board.namespaces
    ? 'Each host has a network namespace and a host name of its own.'
    : 'No network namespaces here (they need Linux and root): the two hosts are two ports of this machine.',
)
say(`${a.name}  http://${a.address}  launcher ${a.launcher.pid}
${b.name}  http://${b.address}  launcher ${b.launcher.pid}
Open http://localhost:${port}, which is nginx, and sign up as 'admin' to be the admin.
Stop one host:  cd example-app && npx fastify-scale stop --name ${a.name} --runtime-dir ${a.runtimeDir}
Pull its plug:  kill -9 ${a.launcher.pid} $(ps -o pid= --ppid ${a.launcher.pid})
^C stops everything.`)

await new Promise((resolve) => {
  onSignal = resolve
})
const since = performance.now()
onSignal = () => {
  if (performance.now() - since > SAME_SIGNAL_MS) process.exit(1)
}
await board.stop()
