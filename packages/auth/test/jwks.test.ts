import { type Server, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { waitFor } from '@fastify-scale/dev-services'
import { runReadinessChecks } from '@fastify-scale/kit'
import type { FastifyInstance } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import type { Jwk, ScaleAuthOptions } from '../src/index.ts'
import { forge, goodClaims, goodHeader, makeKey, setOf } from './forge.ts'
import { ISSUER, SECRET, bearer, createService } from './service.ts'

const rs = makeKey('RS256')
const es = makeKey('ES256')
const publicOf = ({ publicKey, kid, alg }: typeof rs): Jwk => ({
  ...(publicKey.export({ format: 'jwk' }) as Jwk),
  kid,
  alg,
})

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()))
})

async function service(options: Partial<ScaleAuthOptions>): Promise<FastifyInstance> {
  const app = await createService(options)
  closing.push(() => app.close())
  return app
}

/** A JWKS server that answers whatever it is told to; counts the requests. */
async function issuer(
  answer: () => { status?: number; body?: unknown; headers?: Record<string, string> },
): Promise<{ url: string; asked: () => number }> {
  let asked = 0
  const server: Server = createServer((_request, response) => {
    asked++
    const { status = 200, body, headers = {} } = answer()
    response.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => new Promise((resolve) => server.close(resolve)))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`, asked: () => asked }
}

describe('the JWKS route', () => {
  it('shows the public parts alone, with caching headers', async () => {
    const app = await service({ keys: setOf(rs, es), jwks: { maxAge: '10m' } })
    const response = await app.inject('/.well-known/jwks.json')
    expect(response.headers).toMatchObject({
      'cache-control': 'public, max-age=600',
      'content-type': expect.stringMatching(/^application\/jwk-set\+json/),
    })
    expect(response.json()).toEqual({
      keys: [
        { ...publicOf(rs), use: 'sig' },
        { ...publicOf(es), use: 'sig' },
      ],
    })
    const etag = response.headers['etag'] as string
    const again = await app.inject({ url: '/.well-known/jwks.json', headers: { 'if-none-match': etag } })
    expect([again.statusCode, again.body]).toEqual([304, ''])
  })

  it('is not there for a secret, and can be turned off or moved', async () => {
    expect((await (await service({})).inject('/.well-known/jwks.json')).statusCode).toBe(404)
    expect((await (await service({ keys: setOf(rs), jwks: false })).inject('/.well-known/jwks.json')).statusCode).toBe(
      404,
    )
    expect((await (await service({ keys: setOf(rs), jwks: { path: '/keys' } })).inject('/keys')).statusCode).toBe(200)
    await expect(createService({ secret: SECRET, jwks: true })).rejects.toMatchObject({ code: 'SCALE_AUTH_OPTION' })
  })
})

describe("another service's tokens", () => {
  it('are verified by its JWKS route, with no secret shared', async () => {
    const orders = await service({ keys: setOf(rs), audience: ['shop', 'billing'] })
    await orders.listen({ port: 0, host: '127.0.0.1' })
    const { port } = orders.server.address() as AddressInfo
    const billing = await service({ jwksUrl: `http://127.0.0.1:${port}/.well-known/jwks.json`, audience: 'shop' })
    const tokens = await orders.auth.login({ sub: 'u1', roles: ['admin'] })
    const response = await billing.inject({ url: '/me', headers: bearer(tokens.accessToken) })
    expect(response.json()).toMatchObject({ sub: 'u1', iss: ISSUER })
    expect(
      (await billing.inject({ method: 'DELETE', url: '/x', headers: bearer(tokens.accessToken) })).statusCode,
    ).toBe(200)
    await expect(billing.auth.login({ sub: 'u1' })).rejects.toMatchObject({ code: 'SCALE_AUTH_UNSUPPORTED' })
    const elsewhere = await service({ jwksUrl: `http://127.0.0.1:${port}/.well-known/jwks.json`, audience: 'another' })
    expect((await elsewhere.inject({ url: '/me', headers: bearer(tokens.accessToken) })).statusCode).toBe(401)
  })

  it('have a profile of their own', async () => {
    const { url } = await issuer(() => ({ body: { keys: [publicOf(rs)] } }))
    const app = await service({
      jwksUrl: url,
      profile: { typ: 'JWT', requiredClaims: ['tenant'] },
      maxTokenLifetime: '1h',
    })
    const now = Math.floor(Date.now() / 1_000)
    const header = { alg: 'RS256', kid: rs.kid, typ: 'JWT' }
    const claims = { ...goodClaims(now), aud: ['x', ISSUER], exp: now + 3_600, tenant: 't' }
    expect(app.auth.verify(forge(rs, header, claims)).sub).toBe('u1')
    for (const [wrongHeader, wrongClaims] of [
      [goodHeader(rs), claims],
      [header, { ...claims, tenant: undefined }],
      [header, { ...claims, exp: now + 3_700 }],
      [header, { ...claims, aud: ['x'] }],
    ])
      expect(() => app.auth.verify(forge(rs, wrongHeader, wrongClaims))).toThrow(
        expect.objectContaining({ code: 'SCALE_AUTH_TOKEN_INVALID' }),
      )
  })

  it('without kid are taken where there is one key', async () => {
    const { kid: _, ...nameless } = publicOf(es)
    const app = await service({ jwksUrl: (await issuer(() => ({ body: { keys: [nameless] } }))).url })
    expect(app.auth.verify(forge(es, { alg: 'ES256', typ: 'at+jwt' }, goodClaims())).sub).toBe('u1')
    const two = await service({ jwksUrl: (await issuer(() => ({ body: { keys: [publicOf(rs), publicOf(es)] } }))).url })
    expect(() => two.auth.verify(forge(es, { alg: 'ES256', typ: 'at+jwt' }, goodClaims()))).toThrow(/key is not known/)
  })

  it('are verified with the good keys of a set that has others', async () => {
    const leaked = makeKey('RS256', 'leaked')
    const { url } = await issuer(() => ({
      body: {
        keys: [
          publicOf(rs),
          leaked.jwk,
          { kty: 'oct', kid: 'h', alg: 'HS256', k: Buffer.from(SECRET).toString('base64url') },
          { ...publicOf(es), use: 'enc' },
          { kty: 'XYZ', kid: 'new' },
          7,
        ],
      },
    }))
    const app = await service({ jwksUrl: url })
    expect(app.auth.verify(forge(rs, goodHeader(rs), goodClaims())).sub).toBe('u1')
    for (const key of [leaked, es])
      expect(() => app.auth.verify(forge(key, goodHeader(key), goodClaims()))).toThrow(/key is not known/)
  })

  it('of a key that the issuer took away are refused, though they were verified before', async () => {
    let keys = [publicOf(rs), publicOf(es)]
    const { url } = await issuer(() => ({ body: { keys } }))
    const app = await service({ jwksUrl: url, keysRefresh: 100 })
    const token = forge(rs, goodHeader(rs), goodClaims())
    expect(app.auth.verify(token).sub).toBe('u1')
    keys = [publicOf(es)]
    await waitFor(() => {
      try {
        app.auth.verify(token)
        return false
      } catch {
        return true
      }
    })
    expect(app.auth.verify(forge(es, goodHeader(es), goodClaims())).sub).toBe('u1')
  })

  it('of an unknown key are refused at once, and make it ask the issuer again, at most now and then', async () => {
    const newer = makeKey('RS256', 'newer')
    let keys = [publicOf(rs)]
    const { url, asked } = await issuer(() => ({ body: { keys } }))
    const app = await service({ jwksUrl: url, keysRefresh: 300 })
    const token = forge(newer, goodHeader(newer), goodClaims())
    const isAccepted = (): boolean => {
      for (let i = 0; i < 20; i++)
        try {
          app.auth.verify(i === 0 ? token : forge(newer, { ...goodHeader(newer), kid: `x${i}` }, {}))
          return true
        } catch (error) {
          expect((error as Error).message).toMatch(/key is not known/)
        }
      return false
    }
    const start = performance.now()
    await waitFor(() => {
      expect(isAccepted()).toBe(false)
      return performance.now() - start > 900
    })
    // One for the start, and at most two for each 270 ms: the clock's and the strangers'.
    expect(asked()).toBeLessThanOrEqual(1 + 2 * ((performance.now() - start) / 270 + 1))
    keys = [publicOf(rs), publicOf(newer)]
    await waitFor(isAccepted)
  })

  it('are refused while the issuer was never there, and accepted when it comes; its later outage changes nothing', async () => {
    let up = false
    const { url } = await issuer(() => (up ? { body: { keys: [publicOf(rs)] } } : { status: 503 }))
    const app = await service({ jwksUrl: url, keysRefresh: 100 })
    const token = forge(rs, goodHeader(rs), goodClaims())
    expect((await app.inject({ url: '/me', headers: bearer(token) })).statusCode).toBe(401)
    const { ready, checks } = await runReadinessChecks(app)
    expect(ready).toBe(false)
    expect(checks.find(({ name }) => name === 'auth: keys')?.reason).toMatch(/answered 503/)
    up = true
    await waitFor(async () => (await app.inject({ url: '/me', headers: bearer(token) })).statusCode === 200)
    expect((await runReadinessChecks(app)).ready).toBe(true)
    up = false
    expect((await app.inject({ url: '/me', headers: bearer(token) })).statusCode).toBe(200)
  })

  it.each<[string, { status?: number; body?: unknown; headers?: Record<string, string> }]>([
    ['no JSON', { body: '<html>' }],
    ['no keys', { body: { keys: [] } }],
    ['no list', { body: { keys: {} } }],
    ['null', { body: 'null' }],
    ['a redirect', { status: 302, headers: { location: 'http://127.0.0.1:1/' } }],
    ['more than it should be', { body: `{"keys":[],"x":"${'x'.repeat(600_000)}"}` }],
    ['1,000 keys', { body: { keys: Array.from({ length: 1_000 }, (_, i) => ({ ...publicOf(rs), kid: String(i) })) } }],
    ['two keys under one kid', { body: { keys: [publicOf(rs), publicOf(rs)] } }],
  ])('where the issuer answers with %s: not ready, and every token refused', async (_name, answer) => {
    const { url } = await issuer(() => answer)
    const app = await service({ jwksUrl: url })
    expect((await runReadinessChecks(app)).ready).toBe(false)
    expect(
      (await app.inject({ url: '/me', headers: bearer(forge(rs, goodHeader(rs), goodClaims())) })).statusCode,
    ).toBe(401)
  })

  it('need https, or a word that they do not', async () => {
    for (const jwksUrl of [
      'http://issuer.example/jwks',
      'ftp://issuer.example/',
      'jwks.json',
      '',
      'file:///etc/passwd',
    ])
      await expect(createService({ jwksUrl })).rejects.toMatchObject({
        code: expect.stringMatching(/^SCALE_AUTH_OPTION$/),
      })
  })
})
