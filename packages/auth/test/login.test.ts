import type { FastifyInstance } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { loginChannel } from '../src/index.ts'
import { createService } from './service.ts'

const apps: FastifyInstance[] = []
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()))
})

async function service(): Promise<FastifyInstance> {
  const app = await createService()
  apps.push(app)
  return app
}

describe('login', () => {
  it.each<[unknown]>([
    [undefined],
    [null],
    [{}],
    [{ sub: '' }],
    [{ sub: 7 }],
    [{ sub: 'x'.repeat(256) }],
    [{ sub: 'a', roles: 'admin' }],
    [{ sub: 'a', roles: [1] }],
    [{ sub: 'a', scope: [] }],
    [{ sub: 'a', iss: 'x' }],
    [{ sub: 'a', exp: 1 }],
    [{ sub: 'a', sid: 'x' }],
    [{ sub: 'a', client_id: 5 }],
    [{ sub: 'a', client_id: '' }],
    [JSON.parse('{"sub":"a","__proto__":{}}')],
    [JSON.parse('{"sub":"a","deep":{"__proto__":{}}}')],
    [JSON.parse(`{"sub":"a","deep":${'['.repeat(20)}${']'.repeat(20)}}`)],
    [{ sub: 'a', pad: 'x'.repeat(9_000) }],
    [['a']],
  ])('refuses the claims %j', async (claims) => {
    const app = await service()
    await expect(app.auth.login(claims as never)).rejects.toMatchObject({ code: 'SCALE_AUTH_ARGUMENT' })
  })

  it('refuses what is no JSON, and judges claims as the token will have them', async () => {
    const app = await service()
    const circular = { sub: 'a', self: {} }
    circular.self = circular
    class User {
      readonly #id = 'a'
      get sub(): string {
        return this.#id
      }
    }
    for (const claims of [
      circular,
      { sub: 'a', big: 1n },
      new User(),
      { sub: 'a', toJSON: () => undefined },
      () => 'a',
    ])
      await expect(app.auth.login(claims as never)).rejects.toMatchObject({ code: 'SCALE_AUTH_ARGUMENT' })
    const subjects: string[] = []
    const stop = loginChannel.subscribe(({ sub }) => subjects.push(sub))
    const { accessToken } = await app.auth.login({ sub: 'a', toJSON: () => ({ sub: 'b' }) })
    stop()
    expect([app.auth.verify(accessToken).sub, ...subjects]).toEqual(['b', 'b'])
  })

  it('works without sessions; refresh and revoke then say what is missing', async () => {
    const app = await service()
    const tokens = await app.auth.login({ sub: 'a' })
    expect(Object.keys(tokens)).toEqual(['accessToken', 'expiresIn'])
    await expect(app.auth.refresh('x')).rejects.toMatchObject({ code: 'SCALE_AUTH_UNSUPPORTED' })
    await expect(app.auth.revoke({ all: true })).rejects.toMatchObject({ code: 'SCALE_AUTH_UNSUPPORTED' })
    expect(app.auth.staleness()).toBe(Number.POSITIVE_INFINITY)
  })
})
