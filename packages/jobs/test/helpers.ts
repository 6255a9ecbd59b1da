import type { FastifyInstance } from 'fastify'
import { type ServicesBench, useServices } from '../../kit/test/use-services.ts'
import scaleJobs, { type ScaleJobsOptions } from '../src/index.ts'

export interface Bench extends ServicesBench {
  /** A service with the plugin, not ready yet; all of one test share their queues. */
  create(options?: Partial<ScaleJobsOptions>): Promise<FastifyInstance>
}

export function useJobs(): Bench {
  const bench = useServices()
  return Object.assign(bench, {
    create: (options: Partial<ScaleJobsOptions> = {}) => {
      const { redis, prefix } = bench
      return bench.open((app) =>
        app.register(scaleJobs, { redis: redis.url, prefix, queues: { images: {} }, ...options }),
      )
    },
  })
}
