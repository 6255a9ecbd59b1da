// A service under the launcher: its web process adds jobs, its job processes work and write down every run.
import scaleJobs from '@fastify-scale/jobs'
import { Redis } from 'ioredis'

const { REDIS_URL, PREFIX, LOCK, CRON } = process.env

export default async function app(fastify) {
  const notes = new Redis(REDIS_URL)
  notes.on('error', () => undefined)
  fastify.addHook('onClose', async () => notes.disconnect())
  const note = (list, entry) =>
    notes.rpush(`${PREFIX}-${list}`, JSON.stringify({ ...entry, pid: process.pid, at: Date.now() }))

  await fastify.register(scaleJobs, {
    redis: REDIS_URL,
    prefix: PREFIX,
    lock: LOCK,
    queues: { work: { concurrency: 5 }, default: {} },
  })
  const unit = fastify.jobs.define('work.unit', { timeout: '1m' }, async ({ n }, { id, reruns }) => {
    await note('runs', { n, id, reruns })
    await new Promise((resolve) => setTimeout(resolve, 100 + Math.random() * 200))
    await note('done', { n, id })
    return n
  })
  if (CRON)
    fastify.jobs.cron('tick', '* * * * * *', async ({ tick }, { id, reruns }) => {
      await note('ticks', { tick, id, reruns })
    })

  fastify.post('/units/:n', async ({ params }, reply) => {
    const n = Number(params.n)
    const { id } = await unit.add({ n }, { idempotencyKey: `unit:${n}` })
    return reply.code(201).send({ id })
  })
  fastify.get('/counts', () => fastify.jobs.counts('work'))
  fastify.get('/dead', () => fastify.jobs.deadLetters('work'))
}
