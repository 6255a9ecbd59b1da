import { type RedisServer, startRedis } from '@fastify-scale/dev-services'
import type { FastifyInstance } from 'fastify'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { bearer, createService } from './service.ts'

let redis: RedisServer
const apps: FastifyInstance[] = []

async function service(options: Parameters<typeof createService>[0] = {}): Promise<FastifyInstance> {
  const app = await createService({ sessions: { redis: redis.url }, ...options })
  apps.push(app)
  await app.ready()
  return app
}

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())
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

  it('goes on with a refresh, and ends with a revocation in every process', async () => {
    const [one, two] = [await service(), await service()]
    const first = await one.auth.login({ sub: 'u1' })
    const second = await two.auth.refresh(first.refreshToken as string)
    expect(second.refreshToken).not.toBe(first.refreshToken)
    const { sid } = one.auth.verify(second.accessToken)
    expect(sid).toBe(two.auth.verify(first.accessToken).sid)
    await one.auth.revoke({ sid: sid as string })
    for (const app of [one, two])
      for (const { accessToken } of [first, second])
        await expect
          .poll(async () => (await app.inject({ url: '/me', headers: bearer(accessToken) })).statusCode)
          .toBe(401)
    await expect(one.auth.refresh(second.refreshToken as string)).rejects.toMatchObject({
      code: 'SCALE_AUTH_REFRESH_INVALID',
    })
  })
})
