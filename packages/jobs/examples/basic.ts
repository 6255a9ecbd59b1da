import Fastify from 'fastify'
import scaleJobs from '@fastify-scale/jobs'

const app = Fastify({ logger: true })
await app.register(scaleJobs, {
  redis: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379',
  queues: { images: { concurrency: 4 } },
})

const resize = app.jobs.define(
  'images.resize',
  { attempts: 5, timeout: '1m' },
  async (data: { key: string; width: number }, { progress, signal, log }) => {
    for (let done = 0; done < 5 && !signal.aborted; done++) {
      await progress({ done, of: 5 })
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    log.info(data, 'resized')
    return { thumbnail: `${data.key}-${data.width}` }
  },
)

// Once in the whole cluster, however many processes there are.
app.jobs.cron('sweep', '0 3 * * *', { timezone: 'Europe/Berlin' }, ({ tick }, { log }) => log.info(`sweep of ${tick}`))

app.post<{ Body: { key: string } }>('/images', async (request, reply) => {
  const { id } = await resize.add({ key: request.body.key, width: 200 }, { idempotencyKey: request.body.key })
  return reply.code(202).send({ id, status: `/jobs/${id}` })
})
app.get<{ Params: { id: string } }>('/jobs/:id', async (request, reply) => {
  return (await app.jobs.status(request.params.id)) ?? reply.code(404).send({ error: 'no such job' })
})

await app.listen({ port: 3000 })
