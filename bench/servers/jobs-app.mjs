// The list route of hello.mjs, and jobs that burn CPU; run by the launcher.
import scaleJobs from '@fastify-scale/jobs'
import hello from './hello.mjs'

export default async function app(fastify) {
  await fastify.register(scaleJobs, {
    redis: process.env.REDIS_URL,
    prefix: process.env.PREFIX,
    queues: { burn: { concurrency: 1 } },
  })
  const spin = fastify.jobs.define('burn.spin', async () => {
    // A tenth of a second of CPU, with a turn of the event loop every 10 ms, as well-behaved work has.
    for (let i = 0; i < 10; i++) {
      const until = performance.now() + 10
      while (performance.now() < until) Math.sqrt(until)
      await new Promise((resolve) => setImmediate(resolve))
    }
  })
  fastify.post('/burn', async ({ query }) => {
    await Promise.all(Array.from({ length: Number(query.jobs) }, () => spin.add({})))
    return {}
  })
  fastify.get('/counts', () => fastify.jobs.counts('burn'))
  await fastify.register(hello)
}
