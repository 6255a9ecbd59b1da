// How long a change takes to reach all of four processes: forks them, writes from one of its own, prints the median in ms.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import scaleSettings from '@fastify-scale/settings'
import Fastify from 'fastify'

const PROCESSES = 4
const CHANGES = 500
const app = Fastify()
await app.register(scaleSettings, {
  redis: process.env.REDIS_URL,
  prefix: process.env.PREFIX ?? `b${process.pid}:`,
  schema: { n: { type: 'integer', default: 0 } },
})
await app.ready()

if (process.send) {
  // The monotonic clock is the same for all processes of a machine.
  app.settings.onChange('n', (n) => process.send({ n, at: Number(process.hrtime.bigint()) / 1e6 }))
  process.send('ready')
  process.on('disconnect', () => process.exit(0))
} else {
  const env = { ...process.env, PREFIX: `b${process.pid}:` }
  const children = Array.from({ length: PROCESSES }, () => fork(fileURLToPath(import.meta.url), { env }))
  await Promise.all(children.map((child) => once(child, 'message')))
  const seen = new Map()
  let reached = () => undefined
  for (const child of children)
    child.on('message', ({ n, at }) => {
      const times = seen.get(n) ?? []
      seen.set(n, [...times, at])
      if (times.length + 1 === PROCESSES) reached()
    })
  const took = []
  for (let n = 1; n <= CHANGES; n++) {
    const all = new Promise((resolve) => (reached = resolve))
    const start = Number(process.hrtime.bigint()) / 1e6
    await app.settings.set('n', n)
    await all
    took.push(Math.max(...seen.get(n)) - start)
  }
  took.sort((a, b) => a - b)
  process.stdout.write(`${JSON.stringify({ median: took[CHANGES >> 1], p99: took[Math.floor(CHANGES * 0.99)] })}\n`)
  for (const child of children) child.kill('SIGKILL')
  await app.close()
  process.exit(0)
}
