// npx pnpm start:two-hosts: two launchers with shared services, behind nginx.
import { parseArgs } from 'node:util'
import { startTwoHosts } from './two-hosts.mjs'

const say = (line) => process.stderr.write(`${line}\n`)
const { values } = parseArgs({
  options: { port: { type: 'string', short: 'p' }, workers: { type: 'string', short: 'w' } },
})
const port = Number(values.port ?? process.env.PORT ?? 3000)

const stopping = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => stopping.abort())

let board
try {
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

if (!stopping.signal.aborted) await new Promise((resolve) => stopping.signal.addEventListener('abort', resolve))
await board.stop()
