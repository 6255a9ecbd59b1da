// Reads a setting many times, beside a plain property and a Map look-up.
import scaleSettings from '@fastify-scale/settings'
import Fastify from 'fastify'

const { KIND: kind, REDIS_URL: redis } = process.env
const app = Fastify()
await app.register(scaleSettings, {
  redis,
  prefix: `b${process.pid}:`,
  schema: { maintenance: { type: 'boolean', default: false } },
})
await app.ready()
const map = new Map([['maintenance', false]])
const read = kind === 'ours' ? () => app.settings.get('maintenance') : () => map.get('maintenance')
let sum = 0
const count = 20_000_000
for (let i = 0; i < count / 10; i++) sum += Number(read())
const start = process.hrtime.bigint()
for (let i = 0; i < count; i++) sum += Number(read())
const wallNs = Number(process.hrtime.bigint() - start) / count
process.stdout.write(`${JSON.stringify({ wallNs, sum })}\n`)
await app.close()
process.exit(0)
