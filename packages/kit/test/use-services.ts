import { type RedisServer, startRedis } from '@fastify-scale/dev-services'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterAll, afterEach, beforeAll } from 'vitest'

export interface ServicesBench {
  readonly redis: RedisServer
  /** Of the test that runs: what its services have in common, and no other test's. */
  readonly prefix: string
  /** A service that `register` puts plugins into, not ready yet; closed after the test. */
  open(register: (app: FastifyInstance) => PromiseLike<unknown>): Promise<FastifyInstance>
}

/** A Redis for the tests of one file, and services that are closed after each test. */
export function useServices(): ServicesBench {
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
    async open(register) {
      const app = Fastify()
      apps.push(app)
      await register(app)
      return app
    },
  }
}
