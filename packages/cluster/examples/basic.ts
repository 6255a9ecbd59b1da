import type { FastifyInstance } from 'fastify'
import { startCluster } from '@fastify-scale/cluster'

// app.ts is what fastify-cli users have already:
export default async function app(fastify: FastifyInstance): Promise<void> {
  fastify.get('/', async () => ({ worker: fastify.cluster.worker.slot }))
}

// On the command line: fastify-scale start app.js --port 3000. From code:
export async function run(file: string): Promise<void> {
  const cluster = await startCluster({ app: file, port: 3_000, workers: 'auto' })
  process.once('SIGTERM', () => void cluster.stop())
  process.on('SIGUSR2', () => void cluster.reload())
}
