// What every worker of an app can do with the others. Runs alone as well as under the launcher:
//   fastify-scale start examples/in-app.js
import type { FastifyInstance } from 'fastify'
import scaleCluster from '@fastify-scale/cluster'

export default async function app(fastify: FastifyInstance): Promise<void> {
  await fastify.register(scaleCluster)
  const { cluster } = fastify

  // One worker asks, all read: no matter how many workers, one query in ten seconds.
  const rates = cluster.shared('rates', { every: '10s' }, async ({ signal }) => {
    const response = await fetch('http://127.0.0.1:8080/rates', { signal })
    return (await response.json()) as Record<string, number>
  })

  // Runs in exactly one worker, and in another within a second when that one dies or is replaced.
  cluster.singleton('tick', ({ signal }) => {
    const timer = setInterval(() => cluster.broadcast('tick', { at: Date.now() }), 1_000)
    signal.addEventListener('abort', () => clearInterval(timer))
  })
  cluster.on('tick', (data) => fastify.log.debug({ data }, 'tick'))

  fastify.get('/rates', () => rates.value)
  fastify.get('/admin/status', () => cluster.status())
  fastify.post('/admin/reload', async () => {
    await cluster.reload()
    return { accepted: true }
  })
}
