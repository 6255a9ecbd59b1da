import { type RedisServer, startRedis } from '@fastify-scale/dev-services'
import { Cluster } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type CheckerOptions, runChecker } from './checker.ts'
import { KINDS, type Servers, startServers } from './servers.ts'
import { uniquePrefix } from './support.ts'

const SEED = Number(process.env.SEED ?? 20_261_120)
const READS = process.env.SOAK ? 100_000 : 4_000

describe.each(KINDS)('on %s', (kind) => {
  let servers: Servers
  let truth: RedisServer

  beforeAll(async () => {
    ;[servers, truth] = await Promise.all([startServers(kind), startRedis()])
  })
  afterAll(async () => {
    await Promise.all([servers.stop(), truth.stop()])
  })

  const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

  async function cut(type: 'pubsub' | 'normal'): Promise<void> {
    const { admin } = servers
    for (const node of admin instanceof Cluster ? admin.nodes('master') : [admin])
      await node.call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes')
  }

  async function cutConnections(): Promise<void> {
    await pause(300)
    await cut('pubsub')
    await pause(600)
    await cut('normal')
  }

  const options = (more: Partial<CheckerOptions> = {}): CheckerOptions => ({
    ...servers.address,
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
})
