import { type RedisServer, startRedis, waitFor } from '@fastify-scale/dev-services'
import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type ScaleAuthOptions, refreshChannel } from '../src/index.ts'
import { bearer, createService } from './service.ts'

let redis: RedisServer
let client: Redis
const apps: FastifyInstance[] = []

type Sessions = Exclude<ScaleAuthOptions['sessions'], false | undefined>

async function service(sessions: Sessions = {}, options: Partial<ScaleAuthOptions> = {}): Promise<FastifyInstance> {
  const app = await createService({ sessions: { redis: redis.url, ...sessions }, ...options })
  apps.push(app)
  await app.ready()
  return app
}

const status = async (app: FastifyInstance, token: string): Promise<number> =>
  (await app.inject({ url: '/me', headers: bearer(token) })).statusCode

const invalid = { code: 'SCALE_AUTH_REFRESH_INVALID', statusCode: 401 }
const reused = { code: 'SCALE_AUTH_REFRESH_REUSED', statusCode: 401 }

/** ms since 1970 by the clock of Redis. */
async function redisTime(): Promise<number> {
  const [seconds, micros] = await client.time()
  return Number(seconds) * 1_000 + Number(micros) / 1_000
}

async function redisTimePasses(ms: number): Promise<void> {
  const end = (await redisTime()) + ms
  await waitFor(async () => (await redisTime()) > end)
}

beforeAll(async () => {
  redis = await startRedis()
  client = new Redis(redis.url)
})
afterAll(async () => {
  client.disconnect()
  await redis.stop()
})
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()))
})

describe('a session', () => {
  it('begins with a login, and its token opens guarded routes of every process', async () => {
    const [one, two] = [await service(), await service()]
    const tokens = await one.auth.login({ sub: 'u1', roles: ['user'] })
    expect(tokens).toMatchObject({ expiresIn: 300, refreshExpiresIn: 14 * 86_400 })
    const response = await two.inject({ url: '/me', headers: bearer(tokens.accessToken) })
    expect(response.statusCode).toBe(200)
    expect(response.json()).toMatchObject({ sub: 'u1', roles: ['user'], iss: 'https://shop.example' })
  })

  it('goes on with a refresh: new tokens of the same session, with the claims of the login', async () => {
    const app = await service()
    const first = await app.auth.login({ sub: 'u1', roles: ['admin'], tenant: { id: 7 } })
    const second = await app.auth.refresh(first.refreshToken as string)
    expect(second.refreshToken).not.toBe(first.refreshToken)
    const [before, after] = [app.auth.verify(first.accessToken), app.auth.verify(second.accessToken)]
    expect(after).toMatchObject({ sub: 'u1', roles: ['admin'], sid: before.sid, tenant: { id: 7 } })
    expect(after.jti).not.toBe(before.jti)
  })

  it('ends when it was idle for too long, and at its absolute end however busy it is', async () => {
    const app = await service({ prefix: 'ends:', idleTimeout: 1_000, absoluteTimeout: 1_600, reuseGrace: 0 })
    const idle = await app.auth.login({ sub: 'idle' })
    const busy = await app.auth.login({ sub: 'busy' })
    const start = await redisTime()
    let token = busy.refreshToken as string
    const end = await waitFor(async () => {
      try {
        const next = await app.auth.refresh(token)
        token = next.refreshToken as string
        return false
      } catch {
        return redisTime()
      }
    })
    expect(end - start).toBeGreaterThanOrEqual(1_500)
    await expect(app.auth.refresh(idle.refreshToken as string)).rejects.toMatchObject(invalid)
    expect(await client.keys('ends:1:session:*')).toEqual([])
  })

  it('leaves nothing in Redis from which a token can be made', async () => {
    const app = await service()
    const first = await app.auth.login({ sub: 'u1' })
    const second = await app.auth.refresh(first.refreshToken as string)
    const stored = await Promise.all(
      (await client.keys('auth:1:session:*')).map(async (key) => key + JSON.stringify(await client.hgetall(key))),
    )
    for (const { refreshToken } of [first, second]) {
      const [, sid, secret] = (refreshToken as string).split('.') as [string, string, string]
      expect(stored.join()).toContain(sid)
      for (let at = 0; at + 16 <= secret.length; at += 8) expect(stored.join()).not.toContain(secret.slice(at, at + 16))
    }
  })
})

describe('a login that is refused', () => {
  it.each([
    [8_192, {}],
    [4_096, { cookies: true }],
  ])('since its token would have more than %i characters leaves no session', async (limit, options) => {
    const app = await createService({ ...options, sessions: { redis: redis.url } })
    apps.push(app)
    const sub = `refused-${limit}`
    await expect(app.auth.login({ sub, pad: 'x'.repeat(limit * 0.75) })).rejects.toMatchObject({
      code: 'SCALE_AUTH_ARGUMENT',
    })
    expect(await app.auth.sessions(sub)).toEqual([])
    await app.auth.login({ sub, pad: 'x'.repeat(limit * 0.6) })
    expect(await app.auth.sessions(sub)).toHaveLength(1)
  })
})

describe('the sessions of a subject', () => {
  it('are listed with what was said at their login, until they end', async () => {
    const app = await service({ reuseGrace: 0 })
    const before = Date.now()
    const phone = await app.auth.login({ sub: 'lister', device: 'phone' })
    const laptop = await app.auth.login({ sub: 'lister', device: 'laptop' })
    await app.auth.login({ sub: 'another' })
    // Sessions of one millisecond are in no order.
    const byDevice = async () =>
      Object.fromEntries((await app.auth.sessions('lister')).map((session) => [session.claims['device'], session]))
    const list = await byDevice()
    expect(Object.keys(list).toSorted()).toEqual(['laptop', 'phone'])
    expect(list['phone']?.sid).toBe(app.auth.verify(phone.accessToken).sid)
    expect(list['phone']?.startedAt).toBeGreaterThan(before - 2_000)
    expect(list['phone']?.endsAt).toBeGreaterThan(before + 29 * 86_400_000)
    await app.auth.refresh(phone.refreshToken as string)
    const { phone: used, laptop: unused } = await byDevice()
    expect(used?.lastUsedAt).toBeGreaterThan(used?.startedAt as number)
    expect(unused?.lastUsedAt).toBe(unused?.startedAt)
    await app.auth.revoke({ refreshToken: laptop.refreshToken as string })
    expect((await app.auth.sessions('lister')).map(({ claims }) => claims['device'])).toEqual(['phone'])
    // Reuse kills the other one.
    await app.auth.refresh(phone.refreshToken as string).catch(() => undefined)
    expect(await app.auth.sessions('lister')).toEqual([])
    await app.auth.login({ sub: 'lister' })
    await app.auth.revoke({ sub: 'lister' })
    expect(await app.auth.sessions('lister')).toEqual([])
    await expect(app.auth.sessions('')).rejects.toMatchObject({ code: 'SCALE_AUTH_ARGUMENT' })
  })

  it('that ended by themselves are not listed', async () => {
    const app = await service({ prefix: 'short:', idleTimeout: 1_000 })
    await app.auth.login({ sub: 'u1' })
    expect(await app.auth.sessions('u1')).toHaveLength(1)
    await waitFor(async () => (await app.auth.sessions('u1')).length === 0)
  })
})

describe('refresh rotation', () => {
  it('of 200 refreshes at once, over four processes: one rotates, all get the same successor', async () => {
    const four = await Promise.all([service(), service(), service(), service()])
    const { refreshToken } = await (four[0] as FastifyInstance).auth.login({ sub: 'u1' })
    const outcomes: string[] = []
    const stop = refreshChannel.subscribe(({ outcome }) => outcomes.push(outcome))
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, i) => (four[i % 4] as FastifyInstance).auth.refresh(refreshToken as string)),
    )
    stop()
    expect(outcomes.filter((outcome) => outcome === 'rotated')).toHaveLength(1)
    expect(outcomes.filter((outcome) => outcome === 'repeated')).toHaveLength(199)
    expect(new Set(answers.map((answer) => answer.refreshToken)).size).toBe(1)
    expect(answers[0]?.refreshToken).not.toBe(refreshToken)
    for (const { accessToken } of answers) expect(await status(four[1] as FastifyInstance, accessToken)).toBe(200)
  })

  it('at most once per grace window: a slow tab with the first token gets the newest one', async () => {
    const app = await service({ reuseGrace: '30s' })
    const first = await app.auth.login({ sub: 'u1' })
    const second = await app.auth.refresh(first.refreshToken as string)
    const third = await app.auth.refresh(second.refreshToken as string)
    expect(third.refreshToken).toBe(second.refreshToken)
    expect((await app.auth.refresh(first.refreshToken as string)).refreshToken).toBe(second.refreshToken)
  })

  it('reuse after the grace window ends the session in every process', async () => {
    const [one, two] = [await service({ reuseGrace: 100 }), await service({ reuseGrace: 100 })]
    const first = await one.auth.login({ sub: 'u1' })
    const second = await one.auth.refresh(first.refreshToken as string)
    await redisTimePasses(150)
    await expect(two.auth.refresh(first.refreshToken as string)).rejects.toMatchObject(reused)
    expect(await status(two, second.accessToken)).toBe(401)
    await waitFor(async () => (await status(one, second.accessToken)) === 401)
    await expect(one.auth.refresh(second.refreshToken as string)).rejects.toMatchObject({ statusCode: 401 })
    await expect(one.auth.refresh(first.refreshToken as string)).rejects.toMatchObject({ statusCode: 401 })
  })

  it('a token from before the last one ends the session too', async () => {
    const app = await service({ reuseGrace: 0 })
    const first = await app.auth.login({ sub: 'u1' })
    const second = await app.auth.refresh(first.refreshToken as string)
    const third = await app.auth.refresh(second.refreshToken as string)
    await expect(app.auth.refresh(first.refreshToken as string)).rejects.toMatchObject(reused)
    expect(await status(app, third.accessToken)).toBe(401)
  })

  it('a made-up token for a known session is refused and ends nothing', async () => {
    const app = await service()
    const first = await app.auth.login({ sub: 'u1' })
    const [version, sid, secret] = (first.refreshToken as string).split('.') as [string, string, string]
    const family = secret.slice(0, 21)
    for (const text of [
      `${version}.${sid}.${'A'.repeat(64)}`,
      `${version}.${sid}.${secret.slice(32)}${secret.slice(0, 32)}`,
      `${version}.${sid}.${family.slice(1)}A${secret.slice(21)}`,
      `${version}.${'A'.repeat(38)}.${secret}`,
      `${version}.${sid}.${secret}A`,
      `rt2.${sid}.${secret}`,
      first.accessToken,
      '',
      'x'.repeat(1_000_000),
      undefined,
      null,
      {},
    ])
      await expect(app.auth.refresh(text as string)).rejects.toMatchObject(invalid)
    expect((await app.auth.refresh(first.refreshToken as string)).refreshToken).toBeDefined()
  })
})

describe('revocation', () => {
  it('of a session, by its id or its refresh token', async () => {
    const [one, two] = [await service(), await service()]
    for (const by of ['sid', 'refreshToken'] as const) {
      const tokens = await one.auth.login({ sub: 'u1' })
      const other = await one.auth.login({ sub: 'u1' })
      const { sid } = one.auth.verify(tokens.accessToken)
      expect(await status(two, tokens.accessToken)).toBe(200)
      await one.auth.revoke(by === 'sid' ? { sid: sid as string } : { refreshToken: tokens.refreshToken as string })
      // Here at once, elsewhere in a moment.
      expect(await status(one, tokens.accessToken)).toBe(401)
      await waitFor(async () => (await status(two, tokens.accessToken)) === 401)
      await expect(two.auth.refresh(tokens.refreshToken as string)).rejects.toMatchObject(invalid)
      expect(await status(two, other.accessToken)).toBe(200)
    }
  })

  it('by a refresh token that was made up revokes nothing and says nothing', async () => {
    const app = await service()
    const tokens = await app.auth.login({ sub: 'u1' })
    const [version, sid] = (tokens.refreshToken as string).split('.')
    await app.auth.revoke({ refreshToken: `${version}.${sid}.${'A'.repeat(64)}` })
    await app.auth.revoke({ refreshToken: 'nonsense' })
    expect(await status(app, tokens.accessToken)).toBe(200)
  })

  it('of one token leaves its session alone', async () => {
    const app = await service()
    const tokens = await app.auth.login({ sub: 'u1' })
    await app.auth.revoke({ jti: app.auth.verify(tokens.accessToken).jti as string })
    expect(await status(app, tokens.accessToken)).toBe(401)
    expect(await status(app, (await app.auth.refresh(tokens.refreshToken as string)).accessToken)).toBe(200)
  })

  it('holds in the process that asked as soon as it is done, before the stream comes round', async () => {
    const app = await service()
    for (let i = 0; i < 50; i++) {
      const { accessToken } = await app.auth.login({ sub: 'u1' })
      await app.auth.revoke({ jti: app.auth.verify(accessToken).jti as string })
      expect(() => app.auth.verify(accessToken)).toThrow(expect.objectContaining({ code: 'SCALE_AUTH_TOKEN_REVOKED' }))
    }
  })

  it('of all holds for a process that has not heard of it yet', async () => {
    // As if the entry of the stream were still on its way: the cut-off itself is in Redis.
    const one = await service()
    const two = await service()
    const tokens = await one.auth.login({ sub: 'u1' })
    await client.set('auth:1:cut-off-all', Math.floor((await redisTime()) / 1_000) + 1, 'EX', 60)
    await expect(two.auth.refresh(tokens.refreshToken as string)).rejects.toMatchObject(invalid)
    // A login after it waits until it can give a token that is not cut off.
    const later = await two.auth.login({ sub: 'u1' })
    expect(two.auth.verify(later.accessToken).iat).toBeGreaterThan(Number(await client.get('auth:1:cut-off-all')))
    await client.del('auth:1:cut-off-all')
  })

  it('of a subject ends all its sessions and no other', async () => {
    const [one, two] = [await service(), await service()]
    const mine = await Promise.all([one, two, one].map((app) => app.auth.login({ sub: 'me' })))
    const other = await one.auth.login({ sub: 'you' })
    await two.auth.revoke({ sub: 'me' })
    for (const { accessToken, refreshToken } of mine) {
      await waitFor(async () => (await status(one, accessToken)) === 401)
      await expect(one.auth.refresh(refreshToken as string)).rejects.toMatchObject(invalid)
    }
    expect(await status(one, other.accessToken)).toBe(200)
    expect((await one.auth.refresh(other.refreshToken as string)).expiresIn).toBe(300)
  })

  it('of all ends everything that was there, for good', async () => {
    const [one, two] = [await service(), await service()]
    const before = await Promise.all([one.auth.login({ sub: 'a' }), two.auth.login({ sub: 'b' })])
    await one.auth.revoke({ all: true })
    const after = await two.auth.login({ sub: 'a' })
    for (const { accessToken, refreshToken } of before) {
      await waitFor(async () => (await status(two, accessToken)) === 401)
      await expect(two.auth.refresh(refreshToken as string)).rejects.toMatchObject(invalid)
    }
    expect(await status(two, after.accessToken)).toBe(200)
    expect(await status(two, (await one.auth.refresh(after.refreshToken as string)).accessToken)).toBe(200)
  })

  it('and login within one second: what came before is revoked, what comes after is not, any number of times', async () => {
    // With the least tolerance: the second of a token may be the next one.
    const app = await service({}, { clockTolerance: '1s' })
    const dead: string[] = []
    let alive = await app.auth.login({ sub: 'u1' })
    for (let round = 0; round < 3; round++) {
      dead.push(alive.accessToken)
      await app.auth.revoke(round === 1 ? { all: true } : { sub: 'u1' })
      alive = await app.auth.login({ sub: 'u1' })
      for (const token of dead) expect(await status(app, token)).toBe(401)
      expect(await status(app, alive.accessToken)).toBe(200)
      // A refresh in that same second is as good.
      alive = await app.auth.refresh(alive.refreshToken as string)
      expect(await status(app, alive.accessToken)).toBe(200)
    }
  })

  it('refuses what names nothing', async () => {
    const app = await service()
    for (const target of [
      {},
      { sub: '' },
      { sid: 7 },
      { all: false },
      { sub: 'a', sid: 'b' },
      { user: 'x' },
      undefined,
      null,
    ])
      await expect(app.auth.revoke(target as never)).rejects.toMatchObject({ code: 'SCALE_AUTH_ARGUMENT' })
  })
})

describe('an entry of the stream that is not understood', () => {
  it('is passed over, and those behind it hold', async () => {
    const app = await service()
    const tokens = await app.auth.login({ sub: 'u1' })
    const { sid } = app.auth.verify(tokens.accessToken)
    await client.xadd('auth:1:revocations', '*', 'v', '9', 'kind', 'planet', 'id', 'x')
    await client.xadd('auth:1:revocations', '*', 'kind', 'sub', 'id', 'u1', 'at', 'never')
    await client.xadd('auth:1:revocations', '*', 'kind', 'all', 'at', '')
    await client.xadd('auth:1:revocations', '*', 'x', 'y')
    await client.xadd('auth:1:revocations', '*', 'v', '1', 'kind', 'sid', 'id', sid as string, 'at', '', 'made', '')
    await waitFor(async () => (await status(app, tokens.accessToken)) === 401)
    expect(await status(app, (await app.auth.login({ sub: 'u1' })).accessToken)).toBe(200)
  })
})
