import { randomBytes } from 'node:crypto'
import { type FaultProxy, type RedisServer, faultProxy, startRedis, waitFor } from '@fastify-scale/dev-services'
import { createRedisClock } from '@fastify-scale/kit'
import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { LoginClaims, ScaleAuthOptions } from '../src/index.ts'
import { createSessionStore } from '../src/session.ts'
import { createService } from './service.ts'

let redis: RedisServer
let proxy: FaultProxy
let client: Redis
const apps: FastifyInstance[] = []

type Sessions = Exclude<ScaleAuthOptions['sessions'], false | undefined>

async function service(sessions: Sessions = {}): Promise<FastifyInstance> {
  const app = await createService({ sessions: { redis: redis.url, ...sessions } })
  apps.push(app)
  await app.ready()
  return app
}

const invalid = { code: 'SCALE_AUTH_REFRESH_INVALID', statusCode: 401 }
const unavailable = { code: 'SCALE_AUTH_UNAVAILABLE', statusCode: 503 }

async function redisTimePasses(ms: number): Promise<void> {
  const time = async (): Promise<number> => {
    const [seconds, micros] = await client.time()
    return Number(seconds) * 1_000 + Number(micros) / 1_000
  }
  const end = (await time()) + ms
  await waitFor(async () => (await time()) > end)
}

beforeAll(async () => {
  redis = await startRedis()
  proxy = await faultProxy({ target: redis.url })
  client = new Redis(redis.url)
})
afterAll(async () => {
  client.disconnect()
  await proxy.stop()
  await redis.stop()
})
afterEach(async () => {
  proxy.intercept = undefined
  await Promise.all(apps.splice(0).map((app) => app.close()))
})

/** Asks again until Redis can be reached again. */
const refreshed = (app: FastifyInstance, token: string) =>
  waitFor(() =>
    app.auth.refresh(token).catch((error: { statusCode: number }) => {
      if (error.statusCode === 503) return undefined
      throw error
    }),
  )

describe('a refresh that was answered 503', () => {
  it('did not rotate where the cut-off could not be read: the token is good after the grace window, too', async () => {
    const app = await service({ redis: proxy.url, reuseGrace: 100, commandTimeout: 300 })
    const { refreshToken } = await app.auth.login({ sub: 'u1' })
    proxy.intercept = ({ direction, chunk }) =>
      direction === 'request' && chunk.includes('cut-off-all') ? 'hang' : undefined
    await expect(app.auth.refresh(refreshToken as string)).rejects.toMatchObject(unavailable)
    proxy.intercept = undefined
    proxy.cut()
    await redisTimePasses(150)
    expect((await refreshed(app, refreshToken as string)).refreshToken).not.toBe(refreshToken)
  })

  it('did rotate where only the answer of Redis was lost: the token gives its successor within the grace window', async () => {
    const app = await service({ redis: proxy.url, reuseGrace: '30s' })
    const { refreshToken } = await app.auth.login({ sub: 'u1' })
    // Redis learns the script.
    await app.auth.refresh((await app.auth.login({ sub: 'u2' })).refreshToken as string)
    let asked = false
    proxy.intercept = ({ direction, chunk }) => {
      if (direction === 'request' && chunk.includes(':session:')) asked = true
      return asked && direction === 'response' ? 'cut' : undefined
    }
    await expect(app.auth.refresh(refreshToken as string)).rejects.toMatchObject(unavailable)
    proxy.intercept = undefined
    const one = await refreshed(app, refreshToken as string)
    expect(one.refreshToken).not.toBe(refreshToken)
    expect((await app.auth.refresh(refreshToken as string)).refreshToken).toBe(one.refreshToken)
  })
})

describe('a refresh with an update', () => {
  it('takes new claims, for the tokens after it too, or ends there', async () => {
    const app = await service({ reuseGrace: 0 })
    const { refreshToken } = await app.auth.login({ sub: 'taker', roles: ['admin'] })
    const second = await app.auth.refresh(refreshToken as string, {
      update: async (claims) => ({ ...claims, roles: ['user'] }),
    })
    expect(app.auth.verify(second.accessToken).roles).toEqual(['user'])
    const third = await app.auth.refresh(second.refreshToken as string)
    expect(app.auth.verify(third.accessToken).roles).toEqual(['user'])
    expect((await app.auth.sessions('taker'))[0]?.claims.roles).toEqual(['user'])
    const given: LoginClaims[] = []
    const update = (claims: LoginClaims): undefined => void given.push(claims)
    await expect(app.auth.refresh(third.refreshToken as string, { update })).rejects.toMatchObject(invalid)
    expect(given).toEqual([{ sub: 'taker', roles: ['user'] }])
    expect(() => app.auth.verify(third.accessToken)).toThrow(
      expect.objectContaining({ code: 'SCALE_AUTH_TOKEN_REVOKED' }),
    )
    expect(await app.auth.sessions('taker')).toEqual([])
  })

  it('also of a token that was used just now, whose successor stays the same', async () => {
    const app = await service({ reuseGrace: '30s' })
    const first = await app.auth.login({ sub: 'u1', roles: ['admin'] })
    const second = await app.auth.refresh(first.refreshToken as string)
    for (const token of [first.refreshToken, second.refreshToken] as string[]) {
      const update = async (claims: LoginClaims): Promise<LoginClaims> => ({ ...claims, seen: token })
      const next = await app.auth.refresh(token, { update })
      expect(next.refreshToken).toBe(second.refreshToken)
      const after = await app.auth.refresh(second.refreshToken as string)
      expect(app.auth.verify(after.accessToken)).toMatchObject({ seen: token })
    }
  })

  it.each<[string, (claims: LoginClaims) => LoginClaims]>([
    ['gives no claims', () => null as never],
    ['gives another subject', () => ({ sub: 'u2' })],
    ['gives claims that are not allowed', (claims) => ({ ...claims, exp: 1 })],
    ['gives claims that make too long a token', (claims) => ({ ...claims, pad: 'x'.repeat(9_000) })],
  ])('that %s changes nothing, however late it is asked again', async (_name, update) => {
    const app = await service({ reuseGrace: 0 })
    const { refreshToken } = await app.auth.login({ sub: 'u1', tenant: 'a' })
    for (let i = 0; i < 2; i++)
      await expect(app.auth.refresh(refreshToken as string, { update })).rejects.toMatchObject({
        code: 'SCALE_AUTH_ARGUMENT',
      })
    const down = new Error('the database is away')
    const throws = (): never => {
      throw down
    }
    await expect(app.auth.refresh(refreshToken as string, { update: throws })).rejects.toBe(down)
    const next = await app.auth.refresh(refreshToken as string)
    expect(app.auth.verify(next.accessToken)).toMatchObject({ sub: 'u1', tenant: 'a' })
  })

  it('that gives more than fits into the cookie changes nothing, however close to the limit it is', async () => {
    const app = await createService({ cookies: true, sessions: { redis: redis.url, reuseGrace: 0 } })
    apps.push(app)
    app.post('/auth/refresh', async (request, reply) => {
      const { pad } = request.query as { pad: string }
      const update = (claims: LoginClaims): LoginClaims => ({ ...claims, pad: 'x'.repeat(Number(pad)) })
      app.auth.setCookies(reply, await app.auth.refresh(app.auth.refreshCookie(request) ?? '', { update }))
      return {}
    })
    let token = (await app.auth.login({ sub: 'wide' })).refreshToken as string
    const refresh = async (pad: number): Promise<{ code?: string; access?: number }> => {
      const headers = { cookie: `__Secure-refresh=${token}`, 'sec-fetch-site': 'same-origin' }
      const response = await app.inject({ method: 'POST', url: `/auth/refresh?pad=${pad}`, headers })
      const [access, next] = response.cookies
      if (next) token = next.value
      return access ? { access: access.name.length + access.value.length } : response.json()
    }
    const { access: empty = 0 } = await refresh(0)
    // Base64 makes four characters of three.
    const about = Math.floor(((4_096 - empty) * 3) / 4)
    const sizes: number[] = []
    for (let pad = about - 20; pad < about + 20; pad++) {
      const { access, code } = await refresh(pad)
      if (access) sizes.push(access)
      else expect([pad, code]).toEqual([pad, 'SCALE_AUTH_ARGUMENT'])
    }
    expect(sizes.length).toBeGreaterThan(10)
    expect(sizes.length).toBeLessThan(30)
    expect(Math.max(...sizes)).toBeLessThanOrEqual(4_096)
    expect(Math.max(...sizes)).toBeGreaterThan(4_090)
    expect((await app.auth.sessions('wide')).length).toBe(1)
  })

  it('that takes longer than the grace window, while another one of the same token was done', async () => {
    const app = await service({ reuseGrace: 100 })
    const { refreshToken } = await app.auth.login({ sub: 'slow' })
    let other: string | undefined
    const slow = await app.auth.refresh(refreshToken as string, {
      async update(claims) {
        other = (await app.auth.refresh(refreshToken as string)).refreshToken
        await redisTimePasses(150)
        return claims
      },
    })
    expect(slow.refreshToken).toBe(other)
    expect((await app.auth.sessions('slow')).length).toBe(1)
  })

  it('is not asked for a token that is not good, and a used one ends its session', async () => {
    const app = await service({ reuseGrace: 0 })
    let asked = 0
    const update = (claims: LoginClaims): LoginClaims => {
      asked++
      return claims
    }
    const first = await app.auth.login({ sub: 'u1' })
    const second = await app.auth.refresh(first.refreshToken as string)
    const [version, sid] = (first.refreshToken as string).split('.')
    await expect(app.auth.refresh(`${version}.${sid}.${'A'.repeat(64)}`, { update })).rejects.toMatchObject(invalid)
    await expect(app.auth.refresh(first.refreshToken as string, { update })).rejects.toMatchObject({
      code: 'SCALE_AUTH_REFRESH_REUSED',
    })
    expect(() => app.auth.verify(second.accessToken)).toThrow()
    expect(asked).toBe(0)
  })

  it.each(['sid', 'sub', 'all'] as const)('during which the session was revoked by %s gives nothing', async (by) => {
    const [one, two] = [await service(), await service()]
    const { refreshToken, accessToken } = await one.auth.login({ sub: 'u1' })
    const { sid } = one.auth.verify(accessToken)
    await expect(
      one.auth.refresh(refreshToken as string, {
        async update(claims) {
          await two.auth.revoke(by === 'sid' ? { sid: sid as string } : by === 'sub' ? { sub: 'u1' } : { all: true })
          return { ...claims, roles: ['admin'] }
        },
      }),
    ).rejects.toMatchObject(invalid)
    expect(await client.exists(`auth:1:session:{${sid?.slice(0, 16)}}:${sid}`)).toBe(0)
  })
})

describe('a cut-off for all that moves between the two commands of a refresh', () => {
  it('reaches the token that is made, however long it takes', async () => {
    /** Called before each script that touches a session. */
    let before = async (): Promise<void> => undefined
    const slow = new Proxy(client, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name)
        if (typeof value !== 'function') return value
        if (name !== 'evalsha' && name !== 'eval') return value.bind(target) as unknown
        return async (...args: unknown[]) => {
          if (args.some((arg) => String(arg).includes(':session:'))) await before()
          return (value as (...args: unknown[]) => unknown).apply(target, args)
        }
      },
    })
    const store = createSessionStore({
      client: slow,
      clock: createRedisClock(client),
      prefix: 'between:',
      idleTimeout: 60_000,
      absoluteTimeout: 60_000,
      reuseGrace: 10_000,
      tokenLifetime: 300_000,
      timeout: 10_000,
      knownCutOff: () => 0,
      random: randomBytes,
    })
    for (const work of ['login', 'refresh'] as const) {
      const { refreshToken } = await store.begin('u1', '{"sub":"u1"}')
      let cutOff = 0
      before = async () => {
        before = async () => undefined
        cutOff = await store.cutOff(undefined)
        await redisTimePasses(2_500)
      }
      const grant = await (work === 'login' ? store.begin('u1', '{"sub":"u1"}') : store.refresh(refreshToken)).catch(
        () => undefined,
      )
      expect(cutOff).toBeGreaterThan(0)
      if (grant && 'iat' in grant) expect(grant.iat).toBeLessThanOrEqual(cutOff)
    }
  })
})
