import { type RedisServer, faultProxy, startRedis, startRedisCluster, waitFor } from '@fastify-scale/dev-services'
import { type AuthenticatedUser, findCapability } from '@fastify-scale/kit'
import Fastify, { type FastifyInstance } from 'fastify'
import { Cluster, Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { scaleAuth, streamChannel } from '../src/index.ts'
import { ISSUER, SECRET, createService } from './service.ts'

let redis: RedisServer
const closing: (() => unknown)[] = []

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

/** A client as a service would give it; ended after the test. */
function given(): Redis {
  const client = new Redis(redis.url)
  closing.push(() => client.disconnect())
  return client
}

/** All that a session goes through, over two processes. */
async function exercise(one: FastifyInstance, two: FastifyInstance): Promise<void> {
  const revoked = (token: string): boolean => {
    try {
      two.auth.verify(token)
      return false
    } catch (error) {
      return (error as { code: string }).code === 'SCALE_AUTH_TOKEN_REVOKED'
    }
  }
  for (const target of ['sid', 'sub', 'all', 'refreshToken'] as const) {
    const first = await one.auth.login({ sub: 'u1' })
    const second = await two.auth.refresh(first.refreshToken as string)
    const { sid } = two.auth.verify(second.accessToken)
    expect(revoked(second.accessToken)).toBe(false)
    await one.auth.revoke(
      target === 'sid'
        ? { sid: sid as string }
        : target === 'sub'
          ? { sub: 'u1' }
          : target === 'all'
            ? { all: true }
            : { refreshToken: second.refreshToken as string },
    )
    await waitFor(() => revoked(first.accessToken) && revoked(second.accessToken), { message: `revoked by ${target}` })
    await expect(two.auth.refresh(second.refreshToken as string)).rejects.toMatchObject({
      code: 'SCALE_AUTH_REFRESH_INVALID',
    })
  }
}

async function pair(client: Redis | Cluster): Promise<[FastifyInstance, FastifyInstance]> {
  const apps = [
    await createService({ sessions: { redis: client } }),
    await createService({ sessions: { redis: client } }),
  ] as const
  for (const app of apps) {
    closing.push(() => app.close())
    await app.ready()
  }
  return [...apps]
}

describe('sessions', () => {
  it('on a Redis Cluster: every session beside its subject, however many subjects', async () => {
    const cluster = await startRedisCluster()
    closing.push(() => cluster.stop())
    const client = new Cluster([...cluster.urls])
    closing.push(() => client.disconnect())
    const apps = await pair(client)
    await exercise(...apps)
    await Promise.all(Array.from({ length: 50 }, (_, i) => apps[i % 2]?.auth.login({ sub: `user ${i}` })))
  })

  it("under the client's keyPrefix, and under no other key", async () => {
    const client = new Redis(redis.url, { keyPrefix: 'tenant:' })
    closing.push(() => client.disconnect())
    await exercise(...(await pair(client)))
    const admin = new Redis(redis.url)
    closing.push(() => admin.disconnect())
    const keys = await admin.keys('*')
    expect(keys.length).toBeGreaterThan(0)
    expect(keys.filter((key) => !key.startsWith('tenant:auth:1:'))).toEqual([])
    // What is left of it ends by itself, but for the stream, which is trimmed.
    for (const key of keys) if (!key.endsWith(':revocations')) expect(await admin.pttl(key)).toBeGreaterThan(0)
  })

  it('with the redis of @fastify/redis, by shape', async () => {
    const client = new Redis(redis.url)
    closing.push(() => client.disconnect())
    const app = Fastify()
    closing.push(() => app.close())
    app.decorate('redis', client as never)
    await app.register(scaleAuth, { secret: SECRET, issuer: ISSUER, sessions: {} })
    expect((await app.auth.login({ sub: 'u1' })).refreshToken).toBeDefined()
  })

  it('of two services with prefixes of their own do not meet', async () => {
    const one = await createService({ sessions: { redis: redis.url, prefix: 'one:' } })
    const two = await createService({ sessions: { redis: redis.url, prefix: 'two:' } })
    closing.push(
      () => one.close(),
      () => two.close(),
    )
    const tokens = await one.auth.login({ sub: 'u1' })
    await expect(two.auth.refresh(tokens.refreshToken as string)).rejects.toMatchObject({ statusCode: 401 })
    await two.auth.revoke({ all: true })
    expect(one.auth.verify(tokens.accessToken).sub).toBe('u1')
  })

  it('end with the app, in bounded time, also while Redis is frozen, and twice; the client given is left open', async () => {
    const client = new Redis(redis.url)
    closing.push(() => client.disconnect())
    const [one, two] = await pair(client)
    await two.close()
    redis.freeze()
    const start = performance.now()
    try {
      await one.close()
      await one.close()
    } finally {
      redis.thaw()
    }
    expect(performance.now() - start).toBeLessThan(5_000)
    expect(await client.ping()).toBe('PONG')
    const names = String(await client.client('LIST'))
    await waitFor(async () => !String(await client.client('LIST')).includes('@fastify-scale/auth'), { message: names })
  })
})

describe('the stream of revocations', () => {
  it('is trimmed of what cannot matter any more', async () => {
    const [app] = await pair(given())
    const admin = new Redis(redis.url)
    closing.push(() => admin.disconnect())
    await admin.del('auth:1:revocations')
    // Older than any token can be: 5 min, 5 s and a minute of room.
    const old = Date.now() - 10 * 60_000
    for (let i = 0; i < 300; i++)
      await admin.xadd('auth:1:revocations', `${old + i}-0`, 'kind', 'jti', 'id', `old ${i}`, 'at', '', 'made', '')
    await app.auth.revoke({ jti: 'new' })
    // Redis trims whole nodes of a hundred entries.
    expect(await admin.xlen('auth:1:revocations')).toBeLessThan(150)
  })

  it('keeps its connection while it is idle, also with the least maxStaleness', async () => {
    // Nobody else may talk to this Redis: that would make it look at its timeouts sooner.
    const own = await startRedis()
    closing.push(() => own.stop())
    let reads = 0
    const proxy = await faultProxy({
      target: own.url,
      intercept: ({ direction, chunk }) => void (direction === 'request' && chunk.includes('BLOCK') && reads++),
    })
    closing.push(() => proxy.stop())
    let failures = 0
    closing.push(streamChannel.subscribe(({ event }) => void (event === 'error' && failures++)))
    const app = await createService({ sessions: { redis: proxy.url, maxStaleness: 500 } })
    closing.push(() => app.close())
    await app.ready()
    await waitFor(() => reads > 20)
    // One is room for a machine that is busy.
    expect(failures).toBeLessThan(2)
  })

  it('is read over another connection when one goes dead, within maxStaleness', async () => {
    const dead = new Set<number>()
    let follower = 0
    const proxy = await faultProxy({
      target: redis.url,
      intercept({ direction, chunk, connection }) {
        if (direction === 'request' && chunk.includes('xread')) follower = connection
        return dead.has(connection) ? 'hang' : undefined
      },
    })
    closing.push(() => proxy.stop())
    const app = await createService({ sessions: { redis: proxy.url, maxStaleness: '1s' } })
    closing.push(() => app.close())
    await app.ready()
    let stalest = 0
    for (let round = 0; round < 3; round++) {
      const before = follower
      dead.add(follower)
      await waitFor(() => {
        stalest = Math.max(stalest, app.auth.staleness())
        return follower !== before && app.auth.staleness() < 200
      })
    }
    expect(stalest).toBeLessThan(1_000)
  })

  it('tells listeners, once for many, with a question that they ask of their own users', async () => {
    const [one, two] = await pair(given())
    const authenticator = findCapability(two, 'authenticator')
    const tokens = await Promise.all(['a', 'b', 'c'].map((sub) => one.auth.login({ sub })))
    const users = tokens.map(({ accessToken }) => two.auth.verify(accessToken) as unknown as AuthenticatedUser)
    const left = new Set(users)
    const stop = authenticator?.onRevoked((isRevoked) => {
      for (const user of left) if (isRevoked(user)) left.delete(user)
    })
    await one.auth.revoke({ sub: 'b' })
    await waitFor(() => left.size === 2)
    expect([...left].map(({ sub }) => sub)).toEqual(['a', 'c'])
    stop?.()
    await one.auth.revoke({ sub: 'a' })
    await waitFor(() => {
      try {
        two.auth.verify(tokens[0]?.accessToken as string)
        return false
      } catch {
        return true
      }
    })
    expect(left.size).toBe(2)
  })

  it('tells the listeners of the process that revokes, too', async () => {
    const [one] = await pair(given())
    let calls = 0
    findCapability(one, 'authenticator')?.onRevoked(() => calls++)
    const { accessToken } = await one.auth.login({ sub: 'a' })
    await one.auth.revoke({ sid: one.auth.verify(accessToken).sid as string })
    await waitFor(() => calls > 0)
  })
})
