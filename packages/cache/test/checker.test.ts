import { type RedisServer, startRedis } from '@fastify-scale/dev-services'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type CheckerOptions, runChecker } from './checker.ts'
import { uniquePrefix } from './support.ts'

const SEED = Number(process.env.SEED ?? 20_261_120)
const READS = process.env.SOAK ? 100_000 : 8_000
let redis: RedisServer
let truth: RedisServer
let admin: Redis

beforeAll(async () => {
  ;[redis, truth] = await Promise.all([startRedis(), startRedis()])
  admin = new Redis(redis.url)
})
afterAll(async () => {
  admin.disconnect()
  await Promise.all([redis.stop(), truth.stop()])
})

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

async function cutConnections(): Promise<void> {
  await pause(300)
  await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub', 'SKIPME', 'yes')
  await pause(600)
  await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
}

const options = (more: Partial<CheckerOptions> = {}): CheckerOptions => ({
  redis: redis.url,
  truth: truth.url,
  prefix: uniquePrefix(),
  seed: SEED,
  processes: 4,
  reads: READS,
  keys: 40,
  tags: 10,
  chaos: cutConnections,
  ...more,
})

test('no read that began after an acknowledged invalidation is stale, with connections cut all the time', {
  timeout: 600_000,
}, async () => {
  const result = await runChecker(options())
  expect(result.reads).toBeGreaterThanOrEqual(READS)
  expect(result.writes).toBeGreaterThan(20)
  expect({ seed: SEED, stale: result.stale.slice(0, 5), count: result.stale.length }).toEqual({
    seed: SEED,
    stale: [],
    count: 0,
  })
})

test('the same without process memory', { timeout: 600_000 }, async () => {
  const result = await runChecker(options({ l1: false, reads: READS / 2 }))
  expect({ seed: SEED, stale: result.stale.slice(0, 5), count: result.stale.length }).toEqual({
    seed: SEED,
    stale: [],
    count: 0,
  })
})

test('the checker catches a protocol that fills without its token', { timeout: 600_000 }, async () => {
  const result = await runChecker(options({ broken: 'fill-without-token', chaos: undefined, reads: 4_000, keys: 10 }))
  expect(result.stale.length).toBeGreaterThan(0)
})
