import { findCapability, runReadinessChecks } from '@fastify-scale/kit'
import Fastify, { type FastifyInstance, type FastifyPluginAsync } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { type ScaleAuthOptions, rejectedChannel, scaleAuth } from '../src/index.ts'
import { forgeHmac, goodClaims } from './forge.ts'
import { DEFAULTS, ISSUER, SECRET, bearer, createService } from './service.ts'

// Without their types, which would put `jwtVerify` and another `user` into every file of this program.
const load = async (name: string): Promise<FastifyPluginAsync<Record<string, string>>> =>
  ((await import(name)) as { default: FastifyPluginAsync<Record<string, string>> }).default
const [fastifyAuth, fastifyJwt] = [await load('@fastify/auth'), await load('@fastify/jwt')]

const apps: FastifyInstance[] = []
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()))
})

async function service(options: Partial<ScaleAuthOptions> = {}): Promise<FastifyInstance> {
  const app = await createService(options)
  apps.push(app)
  return app
}

function fastify(): FastifyInstance {
  const app = Fastify()
  apps.push(app)
  return app
}

const tokenOf = async (app: FastifyInstance, claims: object = {}): Promise<string> =>
  (await app.auth.login({ sub: 'u1', ...claims })).accessToken

describe('a guarded route', () => {
  it('answers 401 with a bare challenge where nothing was sent', async () => {
    const app = await service()
    for (const headers of [{}, { authorization: 'Basic dTpw' }, { cookie: '__Host-access=x' }]) {
      const response = await app.inject({ url: '/me', headers })
      expect([response.statusCode, response.headers['www-authenticate']]).toEqual([401, 'Bearer'])
      expect(response.json()).toMatchObject({ code: 'SCALE_AUTH_TOKEN_MISSING' })
    }
  })

  it('answers 400 to a malformed header, also beside a good cookie', async () => {
    const app = await service({ cookies: true })
    const token = await tokenOf(app)
    for (const authorization of [
      'Bearer',
      'Bearer ',
      `Bearer ${token} ${token}`,
      `Bearer ${token},${token}`,
      `Bearer "${token}"`,
      'bearer \t',
      `Bearer\t${token}`.replace('\t', ' \t'),
    ]) {
      const response = await app.inject({ url: '/me', headers: { authorization, cookie: `__Host-access=${token}` } })
      expect([authorization, response.statusCode, response.headers['www-authenticate']]).toEqual([
        authorization,
        400,
        'Bearer error="invalid_request"',
      ])
    }
  })

  it('does not fall back from a bad token in the header to a good cookie', async () => {
    const app = await service({ cookies: true })
    const response = await app.inject({
      url: '/me',
      headers: { ...bearer('a.b.c'), cookie: `__Host-access=${await tokenOf(app)}` },
    })
    expect(response.statusCode).toBe(401)
  })

  it('takes the scheme in any case', async () => {
    const app = await service()
    const token = await tokenOf(app)
    for (const scheme of ['Bearer', 'bearer', 'BEARER', 'bEaReR'])
      expect((await app.inject({ url: '/me', headers: { authorization: `${scheme} ${token}` } })).statusCode).toBe(200)
  })

  it('tells an expired token from a bad one', async () => {
    const app = await service()
    const header = JSON.parse(
      Buffer.from((await tokenOf(app)).split('.')[0] as string, 'base64url').toString(),
    ) as object
    const now = Math.floor(Date.now() / 1_000)
    const old = forgeHmac(SECRET, header, { ...goodClaims(now), iat: now - 300, exp: now - 10 })
    const response = await app.inject({ url: '/me', headers: bearer(old) })
    expect(response.json()).toMatchObject({ code: 'SCALE_AUTH_TOKEN_EXPIRED' })
    expect(response.headers['www-authenticate']).toBe(
      'Bearer error="invalid_token", error_description="The access token has expired"',
    )
    // Within the tolerance it is good.
    expect(app.auth.verify(forgeHmac(SECRET, header, { ...goodClaims(now), iat: now - 300, exp: now - 3 })).sub).toBe(
      'u1',
    )
  })

  it('forgets a verified token when it expires', async () => {
    const app = await service({ accessTokenTtl: '1s', clockTolerance: 0 })
    const token = await tokenOf(app)
    expect((await app.inject({ url: '/me', headers: bearer(token) })).statusCode).toBe(200)
    await expect
      .poll(async () => (await app.inject({ url: '/me', headers: bearer(token) })).json().code, { timeout: 5_000 })
      .toBe('SCALE_AUTH_TOKEN_EXPIRED')
  })

  it('hands out claims that nobody can change', async () => {
    const app = await service()
    const user = app.auth.verify(
      await tokenOf(app, { roles: ['user'], deep: { list: [{ a: 1 }] } }),
    ) as unknown as Record<string, unknown>
    expect(Object.getPrototypeOf(user)).toBeNull()
    expect(Object.isFrozen(user)).toBe(true)
    expect(() => (user['roles'] as string[]).push('admin')).toThrow(TypeError)
    const deep = user['deep'] as { list: { a: number }[] }
    expect(Object.getPrototypeOf(deep)).toBeNull()
    expect(() => ((deep.list[0] as { a: number }).a = 2)).toThrow(TypeError)
    expect(user['constructor']).toBeUndefined()
  })

  it('with roles: 403 insufficient_scope without one, 401 before that', async () => {
    const app = await service()
    app.get('/any', { onRequest: app.requireRole('admin', 'user') }, async () => ({}))
    app.get('/all', { onRequest: app.requireRole({ all: ['admin', 'user'] }) }, async () => ({}))
    const tokens = {
      none: await tokenOf(app),
      user: await tokenOf(app, { roles: ['user'] }),
      both: await tokenOf(app, { roles: ['admin', 'user'] }),
    }
    const answers = async (method: 'GET' | 'DELETE', url: string): Promise<number[]> =>
      Promise.all(
        Object.values(tokens).map(
          async (token) => (await app.inject({ method, url, headers: bearer(token) })).statusCode,
        ),
      )
    expect(await answers('DELETE', '/x')).toEqual([403, 403, 200])
    expect(await answers('GET', '/any')).toEqual([403, 200, 200])
    expect(await answers('GET', '/all')).toEqual([403, 403, 200])
    const refused = await app.inject({ method: 'DELETE', url: '/x', headers: bearer(tokens.user) })
    expect(refused.headers['www-authenticate']).toBe('Bearer error="insufficient_scope"')
    expect(refused.json()).toMatchObject({
      code: 'SCALE_AUTH_INSUFFICIENT_SCOPE',
      message: "This needs the role 'admin'",
    })
    expect((await app.inject({ method: 'DELETE', url: '/x' })).statusCode).toBe(401)
  })

  it('with scopes: names them in the challenge', async () => {
    const app = await service()
    app.get('/read', { onRequest: app.requireScope({ all: ['photos:read', 'photos:list'] }) }, async () => ({}))
    const [good, bad] = [
      await tokenOf(app, { scope: 'photos:list other photos:read' }),
      await tokenOf(app, { scope: 'photos:readme photos:list' }),
    ]
    expect((await app.inject({ url: '/read', headers: bearer(good) })).statusCode).toBe(200)
    const refused = await app.inject({ url: '/read', headers: bearer(bad) })
    expect([refused.statusCode, refused.headers['www-authenticate']]).toEqual([
      403,
      'Bearer error="insufficient_scope", scope="photos:read photos:list"',
    ])
  })

  it('that needs nothing, or what is no name, is a mistake at the start', async () => {
    const app = await service()
    for (const wrong of [
      [],
      [''],
      ['a b'],
      ['a"b'],
      [{ any: [] }],
      [{ all: 'admin' }],
      [undefined],
      [{ any: ['a'] }, 'b'],
      [{}],
      [{ any: ['a'], all: ['b'] }],
      [{ any: undefined, all: ['b'] }],
      [{ any: ['a'], all: undefined }],
      [{ all: ['a'], not: ['b'] }],
      [['a']],
    ])
      for (const require of [app.requireRole, app.requireScope])
        expect(() => (require as (...names: unknown[]) => unknown)(...wrong)).toThrow(
          expect.objectContaining({ code: 'SCALE_AUTH_OPTION' }),
        )
  })

  it('that lets everybody in still refuses a bad token', async () => {
    const app = await service()
    expect((await app.inject('/maybe')).json()).toEqual({ user: null })
    expect((await app.inject({ url: '/maybe', headers: bearer(await tokenOf(app)) })).json()).toMatchObject({
      user: { sub: 'u1' },
    })
    expect((await app.inject({ url: '/maybe', headers: bearer('a.b.c') })).statusCode).toBe(401)
  })

  it('tells the channel what it refused, and nothing of the token', async () => {
    const app = await service()
    const heard: unknown[] = []
    const stop = rejectedChannel.subscribe((message) => heard.push(message))
    await app.inject({ url: '/me', headers: bearer('a.b.c') })
    await app.inject('/me')
    stop()
    expect(heard).toMatchObject([{ code: 'SCALE_AUTH_TOKEN_INVALID' }, { code: 'SCALE_AUTH_TOKEN_MISSING' }])
    expect(JSON.stringify(heard)).not.toContain('a.b.c')
  })

  it('with a bound on staleness needs sessions and a bound that can be met', async () => {
    const app = await service()
    expect(() => app.get('/strict', { config: { auth: { maxStaleness: '2s' } } }, async () => ({}))).toThrow(
      expect.objectContaining({ code: 'SCALE_AUTH_OPTION' }),
    )
    const other = await service({ sessions: { redis: 'redis://127.0.0.1:1' } })
    expect(() => other.get('/strict', { config: { auth: { maxStaleness: 100 } } }, async () => ({}))).toThrow(
      /from 2000|at least 2000/,
    )
    // Redis is not there: nothing was loaded, so nothing can be proved.
    other.get('/bound', { config: { auth: { maxStaleness: '2s' } } }, async () => ({}))
    await other.ready()
    const response = await other.inject('/bound')
    expect([response.statusCode, response.json().code]).toEqual([503, 'SCALE_AUTH_STALE'])
    expect((await runReadinessChecks(other)).ready).toBe(false)
  })
})

describe('the authenticator that other plugins find', () => {
  it('verifies tokens and headers as HTTP does', async () => {
    const app = await service({ cookies: true })
    const found = findCapability(app, 'authenticator')
    const token = await tokenOf(app)
    expect(found?.verify(token).sub).toBe('u1')
    expect(found?.fromHeaders(bearer(token), 'GET')?.sub).toBe('u1')
    expect(found?.fromHeaders({}, 'GET')).toBeUndefined()
    expect(() => found?.fromHeaders(bearer('a.b.c'), 'GET')).toThrow(expect.objectContaining({ statusCode: 401 }))
    const cookie = { cookie: `__Host-access=${token}`, host: 'shop.example' }
    expect(found?.fromHeaders(cookie, 'GET')?.sub).toBe('u1')
    const upgrade = { ...cookie, upgrade: 'websocket', connection: 'Upgrade' }
    expect(() => found?.fromHeaders(upgrade, 'GET')).toThrow(expect.objectContaining({ code: 'SCALE_AUTH_CROSS_SITE' }))
    expect(() => found?.fromHeaders({ ...upgrade, origin: 'https://evil.example' }, 'GET')).toThrow(
      expect.objectContaining({ statusCode: 403 }),
    )
    expect(found?.fromHeaders({ ...upgrade, origin: 'https://shop.example' }, 'GET')?.sub).toBe('u1')
  })

  it('knows which requests carried credentials', async () => {
    const app = await service({ cookies: true })
    const seen: boolean[] = []
    app.addHook('onSend', async (request) => {
      seen.push(findCapability(app, 'authenticator')?.isAuthenticated(request) as boolean)
    })
    const token = await tokenOf(app)
    for (const headers of [{}, bearer(token), { cookie: `__Host-access=${token}` }, bearer('a.b.c')])
      await app.inject({ url: '/maybe', headers })
    await app.inject({ url: '/open', headers: bearer(token) })
    expect(seen).toEqual([false, true, true, true, false])
  })
})

describe('beside other plugins', () => {
  it("a service's own @fastify/jwt, registered before, with our request.user under another name", async () => {
    const app = fastify()
    await app.register(fastifyJwt, { secret: 'its own secret, of its own length' })
    await expect(app.register(scaleAuth, DEFAULTS)).rejects.toMatchObject({
      code: 'SCALE_AUTH_OPTION',
      message: expect.stringMatching(/decorators\.user/),
    })
  })

  it("a service's own @fastify/jwt, in either order", async () => {
    for (const first of ['theirs', 'ours']) {
      const app = fastify()
      const theirs = (): unknown => app.register(fastifyJwt, { secret: 'its own secret, of its own length' })
      const ours = (): unknown => app.register(scaleAuth, { ...DEFAULTS, decorators: { user: 'identity' } })
      await (first === 'theirs' ? theirs() : ours())
      await (first === 'theirs' ? ours() : theirs())
      app.get('/theirs', async (request) => {
        await (request as unknown as { jwtVerify: () => Promise<void> }).jwtVerify()
        return request.user
      })
      app.get(
        '/ours',
        { onRequest: app.authenticate },
        async (request) => (request as unknown as { identity: object }).identity,
      )
      const [mine, their] = [
        await tokenOf(app),
        (app as unknown as { jwt: { sign: (claims: object) => string } }).jwt.sign({ name: 'their' }),
      ]
      expect((await app.inject({ url: '/ours', headers: bearer(mine) })).json()).toMatchObject({ sub: 'u1' })
      expect((await app.inject({ url: '/theirs', headers: bearer(their) })).json()).toMatchObject({ name: 'their' })
      expect((await app.inject({ url: '/ours', headers: bearer(their) })).statusCode).toBe(401)
    }
  })

  it('@fastify/auth, whose `auth` is on the instance already', async () => {
    const app = fastify()
    await app.register(fastifyAuth)
    await expect(app.register(scaleAuth, DEFAULTS)).rejects.toMatchObject({
      message: expect.stringMatching(/'auth' is taken.*decorators\.auth/),
    })
  })

  it('@fastify/auth, with our guard in its lists', async () => {
    const app = fastify()
    await app.register(fastifyAuth)
    await app.register(scaleAuth, { ...DEFAULTS, decorators: { auth: 'tokens' } })
    const { tokens } = app as unknown as { tokens: FastifyInstance['auth'] }
    const either = (app as unknown as { auth: (list: unknown[]) => FastifyInstance['authenticate'] }).auth([
      app.authenticate,
      (_request: unknown, _reply: unknown, done: (error?: Error) => void) => done(new Error('never')),
    ])
    app.get('/me', { onRequest: either }, async (request) => request.user)
    const { accessToken } = await tokens.login({ sub: 'u1' })
    expect((await app.inject({ url: '/me', headers: bearer(accessToken) })).json()).toMatchObject({ sub: 'u1' })
    expect((await app.inject('/me')).statusCode).toBe(401)
  })

  it('another scaleAuth, for the tokens of another issuer', async () => {
    const app = fastify()
    await app.register(scaleAuth, DEFAULTS)
    await app.register(scaleAuth, {
      secret: `${SECRET}-partner`,
      issuer: 'https://partner.example',
      audience: ISSUER,
      profile: { typ: 'JWT' },
      decorators: {
        auth: 'partner',
        authenticate: 'authenticatePartner',
        requireRole: 'r2',
        requireScope: 's2',
        user: 'partnerUser',
      },
    })
    const { authenticatePartner } = app as unknown as { authenticatePartner: FastifyInstance['authenticate'] }
    app.get(
      '/partner',
      { onRequest: authenticatePartner },
      async (request) => (request as unknown as { partnerUser: object }).partnerUser,
    )
    app.get('/me', { onRequest: app.authenticate }, async (request) => request.user)
    const theirs = forgeHmac(
      `${SECRET}-partner`,
      { alg: 'HS256', typ: 'JWT' },
      { ...goodClaims(), iss: 'https://partner.example' },
    )
    expect((await app.inject({ url: '/partner', headers: bearer(theirs) })).statusCode).toBe(200)
    expect((await app.inject({ url: '/me', headers: bearer(theirs) })).statusCode).toBe(401)
    expect((await app.inject({ url: '/partner', headers: bearer(await tokenOf(app)) })).statusCode).toBe(401)
  })

  it('in a child context it does not leak out', async () => {
    const app = fastify()
    await app.register(async (child) => {
      await child.register(scaleAuth, DEFAULTS)
      child.get('/child', { onRequest: child.authenticate }, async () => ({}))
    })
    app.get('/parent', async (request) => ({ user: 'user' in request }))
    await app.ready()
    expect(app.hasDecorator('auth')).toBe(false)
    expect(findCapability(app, 'authenticator')).toBeUndefined()
    expect((await app.inject('/parent')).json()).toEqual({ user: false })
    expect((await app.inject('/child')).statusCode).toBe(401)
  })

  it('register() twice is told what is taken', async () => {
    const app = fastify()
    await app.register(scaleAuth, DEFAULTS)
    await expect(app.register(scaleAuth, DEFAULTS)).rejects.toMatchObject({ code: 'SCALE_AUTH_OPTION' })
  })
})

describe('options', () => {
  it.each<[string, unknown]>([
    ['nothing', {}],
    ['no source', { issuer: ISSUER }],
    ['two sources', { ...DEFAULTS, jwksUrl: 'https://a.example/jwks' }],
    ['no issuer', { secret: SECRET }],
    ['an empty issuer', { secret: SECRET, issuer: '' }],
    ['a misspelt name', { ...DEFAULTS, accessTokenTTL: '5m' }],
    ['a ttl of 0', { ...DEFAULTS, accessTokenTtl: 0 }],
    ['a ttl of half a second', { ...DEFAULTS, accessTokenTtl: '1500ms' }],
    ['a ttl of two days', { ...DEFAULTS, accessTokenTtl: '2d' }],
    ['a ttl that is no time', { ...DEFAULTS, accessTokenTtl: 'soon' }],
    ['no tolerance beside sessions', { ...DEFAULTS, clockTolerance: 999, sessions: { redis: 'redis://127.0.0.1:1' } }],
    ['a tolerance of an hour', { ...DEFAULTS, clockTolerance: '1h' }],
    ['a lifetime below the ttl', { ...DEFAULTS, maxTokenLifetime: '1m' }],
    ['an audience that is empty', { ...DEFAULTS, audience: [] }],
    ['an audience that is a number', { ...DEFAULTS, audience: 7 }],
    ['a misspelt session option', { ...DEFAULTS, sessions: { ttl: 1 } }],
    ['a session option that is wrong', { ...DEFAULTS, sessions: { redis: 'redis://127.0.0.1:1', reuseGrace: '1h' } }],
    ['a redis that is none', { ...DEFAULTS, sessions: { redis: 7 } }],
    ['a cookie without its prefix', { ...DEFAULTS, cookies: { accessName: 'access' } }],
    ['a cookie name with a semicolon', { ...DEFAULTS, cookies: { refreshName: '__Secure-a; Domain=x' } }],
    ['a cookie path with a semicolon', { ...DEFAULTS, cookies: { refreshPath: '/a; Domain=x' } }],
    ['an origin with a path', { ...DEFAULTS, cookies: { origins: ['https://a.example/'] } }],
    ['a SameSite of its own', { ...DEFAULTS, cookies: { sameSite: 'none' } }],
    [
      'an algorithm that is symmetric',
      { jwksUrl: 'https://a.example/', issuer: ISSUER, profile: { algorithms: ['HS256'] } },
    ],
    ['a decorator without a name', { ...DEFAULTS, decorators: { user: '' } }],
    ['a misspelt decorator', { ...DEFAULTS, decorators: { users: 'x' } }],
    ['a cache size below 0', { ...DEFAULTS, cacheSize: -1 }],
  ])('with %s are refused at registration', async (_name, options) => {
    const app = fastify()
    await expect(app.register(scaleAuth, options as ScaleAuthOptions)).rejects.toMatchObject({
      code: 'SCALE_AUTH_OPTION',
      statusCode: 500,
    })
  })

  it('are not changed', async () => {
    const options = Object.freeze({ ...DEFAULTS, decorators: Object.freeze({}), cookies: Object.freeze({}) })
    await fastify().register(scaleAuth, options)
  })

  it('without redis name both ways to give it', async () => {
    await expect(fastify().register(scaleAuth, { ...DEFAULTS, sessions: {} })).rejects.toMatchObject({
      code: 'SCALE_KIT_NO_REDIS',
      message: expect.stringMatching(/redis:.*@fastify\/redis/),
    })
  })

  it('without a cache verify every time, with the same answers', async () => {
    const app = await service({ cacheSize: 0 })
    const token = await tokenOf(app)
    for (let i = 0; i < 3; i++) expect(app.auth.verify(token).sub).toBe('u1')
  })
})
