import { type RedisServer, startRedis } from '@fastify-scale/dev-services'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterAll, afterEach, beforeAll } from 'vitest'
import scaleJobs, { type ScaleJobsOptions } from '../src/index.ts'

export interface Bench {
  redis: RedisServer
  /** A service with the plugin, not ready yet; all of one test share their queues. */
  create(options?: Partial<ScaleJobsOptions>): Promise<FastifyInstance>
  /** The prefix of the test that runs. */
  readonly prefix: string
}

/** A Redis for the tests of one file, and services that are closed after each test. */
export function useJobs(): Bench {
  let redis: RedisServer
  let test = 0
  const apps: FastifyInstance[] = []
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis.stop())
  afterEach(async () => {
    test++
    for (const app of apps.splice(0)) await app.close()
  })
  return {
    get redis() {
      return redis
    },
    get prefix() {
      return `test${test}`
    },
    async create(options = {}) {
      const app = Fastify()
      apps.push(app)
      await app.register(scaleJobs, { redis: redis.url, prefix: `test${test}`, queues: { images: {} }, ...options })
      return app
    },
  }
}
