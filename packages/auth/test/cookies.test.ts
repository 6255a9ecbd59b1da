import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createService } from './service.ts'

let app: FastifyInstance
let token: string

beforeAll(async () => {
  app = await createService({ cookies: { origins: ['https://app.example'] } })
  app.post('/big', async (_request, reply) => {
    app.auth.setCookies(reply, { accessToken: 'a'.repeat(4_096), expiresIn: 300 })
    return {}
  })
  app.route({ method: ['PUT', 'PATCH'], url: '/write', onRequest: app.authenticate, handler: async () => ({}) })
  app.route({ method: ['GET', 'OPTIONS'], url: '/read', onRequest: app.authenticate, handler: async () => ({}) })
  app.post('/refresh-cookie', async (request) => ({ token: app.auth.refreshCookie(request) ?? null }))
  app.post('/set', async (_request, reply) => {
    app.auth.setCookies(reply, { accessToken: 'a', expiresIn: 300, refreshToken: 'r', refreshExpiresIn: 1_209_600 })
    return {}
  })
  app.post('/clear', async (_request, reply) => {
    app.auth.clearCookies(reply)
    return {}
  })
  token = (await app.auth.login({ sub: 'u1' })).accessToken
})
afterAll(() => app.close())

type Method = 'GET' | 'HEAD' | 'OPTIONS' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
const HOST = 'shop.example'
const sites = [undefined, 'same-origin', 'same-site', 'cross-site', 'none', 'garbage', ''] as const
const origins = [
  undefined,
  'https://shop.example',
  'https://SHOP.example',
  'http://shop.example',
  'https://app.example',
  'https://app.example.evil.example',
  'https://evil.example',
  'https://shop.example.evil.example',
  'https://shop.example@evil.example',
  'https://shop.example:444',
  'https://shop.example/',
  'null',
  '',
  'chrome-extension://shop.example',
] as const

/** What the rules say, written down a second time: allowed origin; else what the browser says; else our own host. */
function allowed(method: Method, site: string | undefined, origin: string | undefined): boolean {
  if (method === 'GET' || method === 'HEAD' || method === 'OPTIONS') return true
  if (origin === 'https://app.example') return true
  if (site !== undefined) return ['same-origin', 'none'].includes(site)
  return origin === 'https://shop.example' || origin === 'http://shop.example'
}

const url: Record<Method, string> = {
  GET: '/read',
  HEAD: '/read',
  OPTIONS: '/read',
  POST: '/write',
  PUT: '/write',
  PATCH: '/write',
  DELETE: '/x',
}
const table = (Object.keys(url) as Method[]).flatMap((method) =>
  sites.flatMap((site) => origins.map((origin) => [method, site, origin] as const)),
)

function headersOf(site: string | undefined, origin: string | undefined): Record<string, string> {
  return { host: HOST, ...(site !== undefined && { 'sec-fetch-site': site }), ...(origin !== undefined && { origin }) }
}

describe('a request with the access cookie', () => {
  it.each(table)('%s, Sec-Fetch-Site %s, Origin %s', async (method, site, origin) => {
    const headers = { ...headersOf(site, origin), cookie: `other=1; __Host-access=${token}; more=2` }
    const { statusCode, body } = await app.inject({ method, url: url[method], headers })
    if (!allowed(method, site, origin)) {
      expect(statusCode).toBe(403)
      expect(JSON.parse(body)).toMatchObject({ code: 'SCALE_AUTH_CROSS_SITE' })
    } else if (method === 'DELETE') {
      // Authenticated, and without the role that this route needs.
      expect(JSON.parse(body)).toMatchObject({ code: 'SCALE_AUTH_INSUFFICIENT_SCOPE' })
    } else expect(statusCode).toBe(200)
  })

  it.each(table.filter(([method]) => method === 'POST'))(
    'the token in the header needs none of it: %s, %s, %s',
    async (method, site, origin) => {
      const headers = { ...headersOf(site, origin), authorization: `Bearer ${token}` }
      expect((await app.inject({ method, url: url[method], headers })).statusCode).toBe(200)
      // The header wins, so that the cookie beside it changes nothing.
      expect(
        (await app.inject({ method, url: url[method], headers: { ...headers, cookie: '__Host-access=a.b.c' } }))
          .statusCode,
      ).toBe(200)
    },
  )

  it.each([
    ['twice', (good: string) => `__Host-access=${good}; __Host-access=${good}`],
    ['twice, once empty', (good: string) => `__Host-access=; __Host-access=${good}`],
  ])('that comes %s is refused: nobody can tell which is ours', async (_name, cookie) => {
    const response = await app.inject({ url: '/me', headers: { cookie: cookie(token) } })
    expect([response.statusCode, response.json().code]).toEqual([400, 'SCALE_AUTH_CREDENTIALS_MALFORMED'])
  })

  it.each([
    ['another name', (good: string) => `access=${good}`],
    ['a name that only ends so', (good: string) => `x__Host-access=${good}`],
    ['a name that only begins so', (good: string) => `__Host-access2=${good}`],
    ['other letters', (good: string) => `__host-access=${good}`],
    ['no value', () => '__Host-access='],
    ['no equals sign', () => '__Host-access'],
    ['inside of another value', (good: string) => `a=__Host-access=${good}`],
  ])('under %s is none', async (_name, cookie) => {
    const response = await app.inject({ url: '/me', headers: { cookie: cookie(token) } })
    expect([response.statusCode, response.headers['www-authenticate']]).toEqual([401, 'Bearer'])
  })

  it('in quotes is read without them', async () => {
    expect((await app.inject({ url: '/me', headers: { cookie: `__Host-access="${token}"` } })).statusCode).toBe(200)
  })
})

describe('the cookies', () => {
  it('are set with every attribute that protects them', async () => {
    const response = await app.inject({ method: 'POST', url: '/set' })
    expect(response.headers['set-cookie']).toEqual([
      '__Host-access=a; Path=/; Max-Age=300; HttpOnly; Secure; SameSite=Lax',
      '__Secure-refresh=r; Path=/auth; Max-Age=1209600; HttpOnly; Secure; SameSite=Strict',
    ])
  })

  it('are cleared under the same names and paths', async () => {
    const response = await app.inject({ method: 'POST', url: '/clear' })
    expect(response.headers['set-cookie']).toEqual([
      '__Host-access=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax',
      '__Secure-refresh=; Path=/auth; Max-Age=0; HttpOnly; Secure; SameSite=Strict',
    ])
  })

  it('give the refresh token only to a request of this site', async () => {
    const ask = async (headers: Record<string, string>): Promise<[number, unknown]> => {
      const response = await app.inject({ method: 'POST', url: '/refresh-cookie', headers })
      return [response.statusCode, response.json().token ?? response.json().code]
    }
    const cookie = '__Secure-refresh=rt1.x.y'
    expect(await ask({ cookie, 'sec-fetch-site': 'same-origin' })).toEqual([200, 'rt1.x.y'])
    expect(await ask({ cookie, 'sec-fetch-site': 'cross-site' })).toEqual([403, 'SCALE_AUTH_CROSS_SITE'])
    expect(await ask({ cookie })).toEqual([403, 'SCALE_AUTH_CROSS_SITE'])
    expect((await ask({}))[0]).toBe(200)
  })

  it('that no browser would store are refused', async () => {
    const response = await app.inject({ method: 'POST', url: '/big' })
    expect([response.statusCode, response.json().code]).toEqual([500, 'SCALE_AUTH_ARGUMENT'])
    expect(response.headers['set-cookie']).toBeUndefined()
  })

  it('need the option', async () => {
    const without = await createService()
    without.post('/set', async (_request, reply) => without.auth.setCookies(reply, { accessToken: 'a', expiresIn: 1 }))
    const response = await without.inject({ method: 'POST', url: '/set' })
    expect(response.json()).toMatchObject({ code: 'SCALE_AUTH_UNSUPPORTED' })
    await without.close()
  })
})
