import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { performance } from 'node:perf_hooks'
import type { FastifyInstance } from 'fastify'
import { Server } from 'socket.io'
import { io } from 'socket.io-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { forge, goodClaims, goodHeader, makeKey, setOf } from './forge.ts'
import { hostileTokens } from './hostile-tokens.ts'
import { bearer, createService } from './service.ts'

const rs = makeKey('RS256')
const es = makeKey('ES256')
const ed = makeKey('EdDSA')
const hostile = hostileTokens({ rs, es, ed })
/** HTTP allows spaces there, so that they are not part of the token. */
const overHttp = hostile.filter(([name]) => name !== 'a space before')

let app: FastifyInstance
let sockets: Server
let url: string

beforeAll(async () => {
  app = await createService({ keys: setOf(rs, es, ed), cookies: true })
  await app.ready()
  const http = createServer()
  sockets = new Server(http, { transports: ['websocket'] })
  sockets.use((socket, next) => {
    try {
      const { token } = socket.handshake.auth as { token: string }
      socket.data = app.auth.verify(token)
      next()
    } catch (error) {
      next(error as Error)
    }
  })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`
})
afterAll(async () => {
  await sockets.close()
  await app.close()
})

/** Connects with a token; resolves with what the server said. */
function handshake(token: unknown): Promise<string> {
  return new Promise((resolve) => {
    const socket = io(url, { auth: { token }, transports: ['websocket'], reconnection: false, forceNew: true })
    const end = (result: string): void => {
      resolve(result)
      socket.close()
    }
    socket.on('connect', () => end('connected'))
    socket.on('connect_error', (error) => end(error.message))
    // A packet larger than the server takes ends the connection without a word.
    socket.on('disconnect', (reason) => end(`disconnected: ${reason}`))
  })
}

describe('hostile tokens', () => {
  it('are at least 70, each with a name of its own', () => {
    expect(hostile.length).toBeGreaterThanOrEqual(70)
    expect(new Set(hostile.map(([name]) => name)).size).toBe(hostile.length)
  })

  it('stand beside good ones that are accepted everywhere, so that a refusal means something', async () => {
    for (const key of [rs, es, ed]) {
      const token = forge(key, goodHeader(key), goodClaims())
      expect((await app.inject({ url: '/me', headers: bearer(token) })).statusCode).toBe(200)
      expect(await handshake(token)).toBe('connected')
    }
  })

  it.each(overHttp)('%s: refused in the header with a challenge', async (_name, token) => {
    const response = await app.inject({ url: '/me', headers: bearer(token) })
    expect([400, 401]).toContain(response.statusCode)
    expect(response.headers['www-authenticate']).toMatch(
      response.statusCode === 400 ? /^Bearer error="invalid_request"$/ : /^Bearer error="invalid_token"/,
    )
    expect(response.json().code).toMatch(/^SCALE_AUTH_/)
  })

  it.each(overHttp.filter(([, token]) => token !== ''))('%s: refused in the cookie', async (_name, token) => {
    const response = await app.inject({ url: '/me', headers: { cookie: `__Host-access=${token}` } })
    expect(response.statusCode).toBe(401)
  })

  it.each(hostile)('%s: refused by verify() with a coded 401', (_name, token) => {
    expect(() => app.auth.verify(token)).toThrow(
      expect.objectContaining({ statusCode: 401, code: expect.stringMatching(/^SCALE_AUTH_TOKEN_(INVALID|EXPIRED)$/) }),
    )
  })

  it('are refused in the socket handshake', async () => {
    for (const [name, token] of hostile) {
      const result = await handshake(token)
      expect(result, name).toMatch(/^The access token (is invalid|has expired)|^disconnected: transport/)
    }
  })

  it.each([[undefined], [null], [7], [{}], [['a.b.c']], [Buffer.from('a.b.c')], [Symbol('x')], [() => 'a.b.c']])(
    '%s, which is no text: refused by verify()',
    (value) => {
      expect(() => app.auth.verify(value as string)).toThrow(
        expect.objectContaining({ code: 'SCALE_AUTH_TOKEN_INVALID' }),
      )
    },
  )

  it('never holds the event loop', () => {
    // Each once to warm up, then the quickest of five: what is left is the token's own cost.
    const attempt = (token: string): number => {
      const start = performance.now()
      expect(() => app.auth.verify(token)).toThrow()
      return performance.now() - start
    }
    for (const [name, token] of hostile) {
      attempt(token)
      expect(Math.min(...Array.from({ length: 5 }, () => attempt(token))), name).toBeLessThan(5)
    }
  })

  it('say nothing of the token in the answer', async () => {
    const token = forge(rs, goodHeader(rs), { ...goodClaims(), iss: 'https://evil.example', pad: 'PRIVATE' })
    const response = await app.inject({ url: '/me', headers: bearer(token) })
    expect(response.body).not.toMatch(/evil|PRIVATE|eyJ/)
  })
})
