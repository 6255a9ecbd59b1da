// An app whose singleton and shared value leave a trace that the test reads. Times are of the monotonic clock, which
// all processes of a machine share.
import { appendFileSync } from 'node:fs'
import scaleCluster from '@fastify-scale/cluster'
import { addReadinessCheck } from '@fastify-scale/kit'

const trace = process.env.TRACE
const now = () => Number(process.hrtime.bigint() / 1_000n) / 1_000
const write = (event, fencing) => appendFileSync(trace, `${event} ${process.pid} ${fencing} ${now()}\n`)

export default async function app(fastify) {
  const redis = process.env.REDIS_URL
  await fastify.register(scaleCluster, redis ? { redis, lease: process.env.LEASE ?? '1s' } : {})

  fastify.cluster.singleton('traced', async ({ signal, fencing }) => {
    write('start', fencing)
    while (!signal.aborted) {
      write('alive', fencing)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    write('stop', fencing)
  })
  const shared = fastify.cluster.shared('counted', { every: 50 }, ({ fencing }) => {
    write('load', fencing)
    return { pid: process.pid, at: now() }
  })
  let ready = true
  addReadinessCheck(fastify, {
    name: 'app: switch',
    check() {
      if (!ready) throw new Error('switched off')
    },
  })

  const heard = []
  fastify.cluster.on('news', (data) => heard.push(data))

  fastify.get('/', async () => ({ pid: process.pid, shared: shared.value, age: now() - shared.value.at }))
  fastify.get('/status', () => fastify.cluster.status())
  fastify.get('/worker', () => ({ ...fastify.cluster.worker, pid: process.pid, launched: fastify.cluster.launched }))
  fastify.get('/heard', () => ({ pid: process.pid, heard }))
  fastify.post('/news', async (request) => fastify.cluster.broadcast('news', request.body))
  fastify.post('/ready/:value', async (request) => {
    ready = request.params.value === 'true'
    return { pid: process.pid }
  })
  fastify.post('/reload', async () => {
    await fastify.cluster.reload()
    return { accepted: true }
  })
  fastify.post('/scale/:to', async (request) => {
    await fastify.cluster.scale(request.params.to)
    return { accepted: true }
  })
  fastify.post('/restart/:slot', (request) => fastify.cluster.restart(Number(request.params.slot)).then(() => ({})))
  fastify.post('/kill/:slot', (request) => fastify.cluster.kill(Number(request.params.slot)).then(() => ({})))
  // What a hung worker looks like to the others.
  fastify.post('/block/:ms', async (request) => {
    const until = now() + Number(request.params.ms)
    setTimeout(() => {
      while (now() < until);
    })
    return { pid: process.pid }
  })
}
