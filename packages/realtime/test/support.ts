import { createHmac } from 'node:crypto'
import { startRedis, type RedisServer } from '@fastify-scale/dev-services'
import type { Authenticator, AuthenticatedUser } from '@fastify-scale/kit'
import fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { type RealtimeClientOptions, createRealtimeClient } from '../src/client.ts'
import scaleRealtime, { type RealtimeOptions } from '../src/index.ts'

type Events = Record<string, (...args: never[]) => void>
type Listener = (...args: never[]) => void

/** A client whose events are not typed. */
export interface TestClient extends ReturnType<typeof createRealtimeClient<Events, Events>> {}

const cleanups: (() => unknown)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** Runs after the test, the last one first. */
export function onEnd(cleanup: () => unknown): void {
  cleanups.push(cleanup)
}

/** One Redis for all tests of a file. */
export function useRedis(): { readonly current: RedisServer; readonly url: string } {
  let redis: RedisServer
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis.stop())
  return {
    get current() {
      return redis
    },
    get url() {
      return redis.url
    },
  }
}

export interface TestApp {
  app: FastifyInstance
  url: string
  port: number
}

/** An app that listens on a free port and is closed after the test. */
export async function startApp(
  options: RealtimeOptions,
  {
    server,
    before,
    after,
  }: {
    server?: FastifyServerOptions
    before?: (app: FastifyInstance) => unknown
    after?: (app: FastifyInstance) => unknown
  } = {},
): Promise<TestApp> {
  const app = fastify({ logger: false, ...server }) as unknown as FastifyInstance
  await before?.(app)
  await app.register(scaleRealtime, { authorizeRoom: () => true, ...options })
  await after?.(app)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  onEnd(() => app.close())
  return { app, url, port: Number(new URL(url).port) }
}

/** A client that is connected, and ended after the test. */
export async function connect(url: string, options: RealtimeClientOptions = {}): Promise<TestClient> {
  const client = open(url, options)
  await new Promise<void>((resolve, reject) => {
    ;(client as unknown as { once(event: string, listener: Listener): void }).once('connect', resolve)
    client.onEnded((code) => reject(new Error(`ended: ${code}`)))
  })
  return client
}

/** A client that is ended after the test. */
export function open(url: string, options: RealtimeClientOptions = {}): TestClient {
  const client = createRealtimeClient<Events, Events>(url, {
    ...options,
    socket: { forceNew: true, ...options.socket },
  })
  onEnd(() => client.disconnect())
  return client
}

/** The next event of that name. */
export function once(client: TestClient, event: string): Promise<unknown> {
  return new Promise((resolve) => {
    ;(client as unknown as { once(event: string, listener: Listener): void }).once(event, resolve as Listener)
  })
}

/** Everything that a client gets of one event, from now on. */
export function collect<T>(client: TestClient, event: string): T[] {
  const all: T[] = []
  ;(client as unknown as { on(event: string, listener: Listener): void }).on(event, ((value: T) =>
    all.push(value)) as Listener)
  return all
}

export function emit(client: TestClient, event: string, ...args: unknown[]): void {
  ;(client as unknown as { emit(event: string, ...args: unknown[]): void }).emit(event, ...args)
}

/** Publishes with types out of the way. */
export function publish(
  app: FastifyInstance,
  room: string,
  event: string,
  data?: unknown,
  options?: { id?: string },
): Promise<{ seq: number | null; epoch: string | null; duplicate: boolean }> {
  return (app.realtime.publish as (...args: unknown[]) => never)(room, event, data, options)
}

const SECRET = 'only for tests'

/** A signed token, as small as it can be: the real ones are another package's. */
export function signToken(claims: { sub: string; exp?: number; sid?: string }): string {
  const body = Buffer.from(JSON.stringify(claims)).toString('base64url')
  return `${body}.${createHmac('sha256', SECRET).update(body).digest('base64url')}`
}

export class TokenError extends Error {
  readonly code: string
  readonly statusCode = 401
  constructor(code: string) {
    super(code)
    this.code = code
  }
}

export function verifyToken(token: string): AuthenticatedUser {
  const [body = '', signature] = token.split('.')
  if (createHmac('sha256', SECRET).update(body).digest('base64url') !== signature)
    throw new TokenError('SCALE_AUTH_TOKEN_INVALID')
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as AuthenticatedUser
  if (claims.exp !== undefined && claims.exp * 1_000 <= Date.now()) throw new TokenError('SCALE_AUTH_TOKEN_EXPIRED')
  return claims
}

/** An authenticator as another plugin offers it, with a way to revoke. */
export function createTestAuthenticator(): { authenticator: Authenticator; revoke: (sid: string) => void } {
  const listeners = new Set<(isRevoked: (user: AuthenticatedUser) => boolean) => void>()
  const revoked = new Set<string>()
  const verify = (token: string): AuthenticatedUser => {
    const user = verifyToken(token)
    if (revoked.has(user.sid ?? '')) throw new TokenError('SCALE_AUTH_TOKEN_REVOKED')
    return user
  }
  return {
    authenticator: {
      verify,
      fromHeaders(headers) {
        const bearer = /^Bearer (.*)$/.exec(String(headers['authorization'] ?? ''))?.[1]
        const cookie = /(?:^|; )token=([^;]*)/.exec(String(headers['cookie'] ?? ''))?.[1]
        const token = bearer ?? cookie
        return token === undefined ? undefined : verify(token)
      },
      onRevoked(listener) {
        listeners.add(listener)
        return () => void listeners.delete(listener)
      },
      isAuthenticated: () => false,
    },
    revoke(sid) {
      revoked.add(sid)
      for (const listener of listeners) listener((user) => user.sid === sid)
    },
  }
}
