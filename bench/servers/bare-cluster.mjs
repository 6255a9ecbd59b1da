// What one would write without any library: node:cluster, a worker for each slot, forked again when it goes. SIGUSR2
// reloads by the recipe of Node's own documentation: disconnect, kill after 2 s, fork, wait for listening, the next one.
import cluster from 'node:cluster'
import { once } from 'node:events'

const say = (line) => process.stdout.write(`${line}\n`)
cluster.schedulingPolicy = process.env.POLICY === 'none' ? cluster.SCHED_NONE : cluster.SCHED_RR
cluster.setupPrimary({ exec: new URL('standalone.mjs', import.meta.url).pathname })
for (let i = 0; i < Number(process.env.WORKERS); i++) cluster.fork()
cluster.on('exit', (worker) => {
  if (!worker.exitedAfterDisconnect) cluster.fork()
})
process.on('SIGTERM', () => process.exit(0))

async function reload() {
  for (const worker of Object.values(cluster.workers)) {
    const gone = once(worker, 'exit')
    worker.disconnect()
    const timer = setTimeout(() => worker.kill(), 2_000)
    await gone
    clearTimeout(timer)
    await once(cluster.fork(), 'listening')
  }
  say('reloaded')
}
process.on('SIGUSR2', () => void reload())

let listening = 0
cluster.on('listening', () => {
  if (++listening === Number(process.env.WORKERS)) say('all workers listen')
})
