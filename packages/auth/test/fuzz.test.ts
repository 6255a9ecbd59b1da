import { randomInt } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { forge, goodClaims, goodHeader, makeKey, setOf } from './forge.ts'
import { SECRET, createService } from './service.ts'

const ROUNDS = process.env['SOAK'] ? 50_000 : 3_000
const keys = [makeKey('RS256'), makeKey('PS256'), makeKey('ES256'), makeKey('EdDSA')] as const

/** Numbers from a seed (mulberry32), so that a failure can be seen again. */
function numbers(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

const CHARS = 'ABCxyz019-_.=+/ \t\n"\\{}[],:é\u0000\ud800%'

/** Changes a text in one of the ways in which texts go wrong, or are made to. */
function mutate(text: string, pick: (below: number) => number): string {
  const at = pick(text.length + 1)
  const char = CHARS[pick(CHARS.length)] as string
  switch (pick(10)) {
    case 0:
      return text.slice(0, at) + char + text.slice(at + 1)
    case 1:
      return text.slice(0, at) + char + text.slice(at)
    case 2:
      return text.slice(0, at) + text.slice(at + 1 + pick(8))
    case 3:
      return text.slice(0, at)
    case 4:
      return text.slice(at)
    case 5:
      return text + text.slice(at)
    case 6: {
      const parts = text.split('.')
      const [a, b] = [pick(parts.length), pick(parts.length)]
      ;[parts[a], parts[b]] = [parts[b] as string, parts[a] as string]
      return parts.join('.')
    }
    case 7:
      return text.slice(0, at) + '.'.repeat(pick(4)) + text.slice(at)
    case 8: {
      const last = text.charCodeAt(at)
      return Number.isNaN(last)
        ? `${text}A`
        : text.slice(0, at) + String.fromCharCode(last ^ (1 << pick(7))) + text.slice(at + 1)
    }
    default: {
      // One part decoded, changed and encoded again.
      const parts = text.split('.')
      const which = pick(parts.length)
      const bytes = Buffer.from(parts[which] as string, 'base64url')
      if (bytes.length === 0) return `${text}.`
      const where = pick(bytes.length)
      bytes[where] = (bytes[where] as number) ^ (1 << pick(8))
      parts[which] = bytes.toString('base64url')
      return parts.join('.')
    }
  }
}

let app: FastifyInstance
let hmac: FastifyInstance
beforeAll(async () => {
  app = await createService({ keys: setOf(...keys), cookies: true })
  hmac = await createService({ secret: SECRET })
})
afterAll(async () => {
  await app.close()
  await hmac.close()
})

describe('mutated tokens', { timeout: process.env['SOAK'] ? 300_000 : 60_000 }, () => {
  const seed = Number(process.env['FUZZ_SEED'] ?? randomInt(2 ** 31))

  it(`are never accepted, and never more than a 401 (seed ${seed})`, async () => {
    const pick = numbers(seed)
    const good = [
      ...keys.map((key) => [app, forge(key, goodHeader(key), { ...goodClaims(), pad: 'ä"\\ü' })] as const),
      [hmac, (await hmac.auth.login({ sub: 'u1' })).accessToken] as const,
    ]
    for (const [service, token] of good) expect(service.auth.verify(token).sub).toBe('u1')
    for (let i = 0; i < ROUNDS; i++) {
      const [service, token] = good[pick(good.length)] as (typeof good)[number]
      let mutated = token
      for (let n = 0; n <= pick(3); n++) mutated = mutate(mutated, pick)
      if (mutated === token) continue
      let outcome: unknown = 'accepted'
      try {
        service.auth.verify(mutated)
      } catch (error) {
        outcome = (error as { code?: string }).code
      }
      expect(outcome, JSON.stringify(mutated)).toMatch(/^SCALE_AUTH_TOKEN_(INVALID|EXPIRED)$/)
    }
  })

  it(`in headers and cookies never make a 500 (seed ${seed})`, async () => {
    const pick = numbers(seed + 1)
    const [key] = keys
    const token = forge(key, goodHeader(key), goodClaims())
    for (let i = 0; i < ROUNDS / 10; i++) {
      let header = `Bearer ${token}`
      let cookie = `a=1; __Host-access=${token}; b=2`
      for (let n = 0; n <= pick(3); n++) {
        header = mutate(header, pick)
        cookie = mutate(cookie, pick)
      }
      for (const headers of [{ authorization: header }, { cookie }, { authorization: header, cookie }])
        for (const method of ['GET', 'POST'] as const) {
          const response = await app.inject({ method, url: method === 'GET' ? '/me' : '/write', headers })
          // A change that leaves the token whole, such as another letter of `Bearer` or of the other cookies, may pass.
          expect([200, 400, 401, 403], JSON.stringify(headers)).toContain(response.statusCode)
          if (response.statusCode === 200) expect(JSON.stringify(headers)).toContain(token)
        }
    }
  })

  it(`signed claims of any shape never make more than a 401 (seed ${seed})`, () => {
    const pick = numbers(seed + 2)
    const [, , key] = keys
    const now = Math.floor(Date.now() / 1_000)
    const values = [
      'null',
      '0',
      '-1',
      '1e400',
      '1e308',
      '0.5',
      `${now}`,
      `"${now}"`,
      'true',
      '""',
      '"admin"',
      '[]',
      '["a"]',
      '[[]]',
      '{}',
      '{"a":{}}',
      '"\\u0000"',
      '"\\ud800"',
      '[null]',
      `${2 ** 53}`,
    ]
    const names = Object.keys(goodClaims()).concat(
      'nbf',
      'sid',
      'scope',
      'client_id',
      '__proto__',
      'constructor',
      'toString',
      '',
    )
    for (let i = 0; i < ROUNDS / 3; i++) {
      const claims = new Map<string, string>(
        Object.entries(goodClaims(now)).map(([name, value]) => [name, JSON.stringify(value)]),
      )
      for (let n = 0; n <= pick(4); n++) {
        const name = names[pick(names.length)] as string
        if (pick(4) === 0) claims.delete(name)
        else claims.set(name, values[pick(values.length)] as string)
      }
      const payload = `{${[...claims].map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(',')}}`
      const token = forge(key as (typeof keys)[number], goodHeader(key as (typeof keys)[number]), payload)
      try {
        const user = app.auth.verify(token) as unknown as Record<string, unknown>
        // What is accepted is what it says, with the types that it should have.
        expect(user['iss']).toBe('https://shop.example')
        expect(user['sub']).toEqual(expect.any(String))
        expect(Number.isInteger(user['exp']) && Number.isInteger(user['iat'])).toBe(true)
        expect(
          user['roles'] === undefined || (user['roles'] as unknown[]).every((role) => typeof role === 'string'),
        ).toBe(true)
        expect(Object.getPrototypeOf(user)).toBeNull()
      } catch (error) {
        expect((error as { code?: string }).code, payload).toMatch(/^SCALE_AUTH_TOKEN_(INVALID|EXPIRED)$/)
      }
    }
    expect(({} as Record<string, unknown>)['roles']).toBeUndefined()
  })

  it('of refresh tokens are refused alike', async () => {
    const pick = numbers(seed + 3)
    const service = await createService({ sessions: { redis: 'redis://127.0.0.1:1', commandTimeout: 50 } })
    const token = `rt1.${'A'.repeat(38)}.${'B'.repeat(64)}`
    for (let i = 0; i < 200; i++) {
      const mutated = mutate(token, pick)
      const error = (await service.auth.refresh(mutated).catch((reason: unknown) => reason)) as { statusCode: number }
      expect([401, 503]).toContain(error.statusCode)
    }
    await service.close()
  })
})
