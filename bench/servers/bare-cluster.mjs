// What one would write without any library: node:cluster, a worker for each slot, forked again when it goes.
import cluster from 'node:cluster'

cluster.schedulingPolicy = process.env.POLICY === 'none' ? cluster.SCHED_NONE : cluster.SCHED_RR
cluster.setupPrimary({ exec: new URL('standalone.mjs', import.meta.url).pathname })
const workers = Number(process.env.WORKERS)
let listening = 0
for (let i = 0; i < workers; i++) cluster.fork()
cluster.on('listening', () => {
  if (++listening === workers) process.stdout.write(`{"url":"http://127.0.0.1:${process.env.PORT}"}\n`)
})
process.on('SIGTERM', () => process.exit(0))
