import type { IncomingHttpHeaders } from 'node:http'
import { type Authenticator, withDeadline } from '@fastify-scale/kit'
import type { AuthCode } from './protocol.ts'
import type { RealtimeUser } from './types.ts'

/** What a client showed when it connected, or when it sent a fresh token. */
export interface Credentials {
  /** The token of the handshake's `auth.token`, or of `Authorization: Bearer`. */
  token: string | undefined
  /** Without `cookie` where a page of an origin that may not connect with cookies sent a token beside it. */
  headers: IncomingHttpHeaders
  /** The handshake's `auth` object. */
  auth: Record<string, unknown>
  /** The client's address, as `request.ip` gives it. */
  address: string
}

/**
 * Says who a client is. Throw, or return null, to refuse it: an error whose code ends in `TOKEN_EXPIRED` tells the
 * client to fetch a new token; one with a `statusCode` of 500 or more to try again later; any other is `TOKEN_INVALID`.
 */
export type Authenticate = (
  credentials: Credentials,
) => RealtimeUser | null | undefined | Promise<RealtimeUser | null | undefined>

/** What Socket.IO sends to the client as `connect_error`: the code as message, and in `data`. */
export class HandshakeRefusal extends Error {
  readonly data: { code: AuthCode }
  constructor(code: AuthCode) {
    super(code)
    this.name = 'HandshakeRefusal'
    this.data = { code }
  }
}

export interface AuthenticationOptions {
  /** The option. */
  authenticate: Authenticate | false | undefined
  /** The capability, where an authenticator is there. */
  authenticator: Authenticator | undefined
  anonymous: boolean
  /** Origins, beyond the host's own, that may connect with cookies. */
  origins: ReadonlySet<string>
  /** Largest `auth`, in its JSON form. */
  maxAuth: number
}

/** A client's credentials, and the host that it asked for. */
export interface HandshakeCredentials extends Credentials {
  host: string
}

/** Finds out who a client is; undefined is an anonymous one. Rejects with `HandshakeRefusal`. */
export type Verify = (credentials: HandshakeCredentials) => Promise<RealtimeUser | undefined>

/** How long `authenticate` may take, in ms. */
const AUTHENTICATE_MS = 10_000

export function createVerify(options: AuthenticationOptions): Verify {
  const { authenticate, authenticator, anonymous, origins, maxAuth } = options
  const open = authenticate === false || (authenticate === undefined && authenticator === undefined)

  async function identify(credentials: Credentials): Promise<RealtimeUser | null | undefined> {
    if (typeof authenticate === 'function')
      return withDeadline(Promise.resolve(authenticate(credentials)), AUTHENTICATE_MS, 'authenticate')
    if (credentials.token !== undefined) return authenticator?.verify(credentials.token)
    return authenticator?.fromHeaders(credentials.headers, 'GET')
  }

  return async function verify(credentials) {
    if (jsonLength(credentials.auth) > maxAuth) throw new HandshakeRefusal('AUTH_TOO_LARGE')
    if (open) return undefined
    const { token, headers } = credentials
    // Browsers send cookies with a websocket handshake from any page, and CORS does not hold for it.
    const foreign = headers.cookie !== undefined && !isOriginAllowed(credentials, origins)
    if (foreign && token === undefined) throw new HandshakeRefusal('ORIGIN_DENIED')
    const user = await identify(foreign ? withoutCookie(credentials) : credentials).catch((error: unknown) => {
      throw new HandshakeRefusal(codeOf(error))
    })
    if (user === null || user === undefined) {
      if (anonymous && token === undefined) return undefined
      throw new HandshakeRefusal('TOKEN_INVALID')
    }
    if (typeof user.sub !== 'string' || user.sub === '') throw new HandshakeRefusal('TOKEN_INVALID')
    if (user.exp !== undefined && !(user.exp * 1_000 > Date.now())) throw new HandshakeRefusal('TOKEN_EXPIRED')
    return user
  }
}

/** The token that a client sent: `auth.token` of the handshake, else `Authorization: Bearer`. */
export function tokenOf(auth: Record<string, unknown>, headers: Credentials['headers']): string | undefined {
  if (typeof auth['token'] === 'string' && auth['token'] !== '') return auth['token']
  return /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1]
}

function isOriginAllowed({ headers, host }: HandshakeCredentials, origins: ReadonlySet<string>): boolean {
  const { origin } = headers
  // No browser: those always send it with a websocket handshake (RFC 6455, 10.2).
  if (origin === undefined) return true
  return origins.has(origin) || (URL.canParse(origin) && new URL(origin).host === host)
}

/** Any page can make up a token: the cookie beside it proves no more for it. */
function withoutCookie(credentials: HandshakeCredentials): HandshakeCredentials {
  const { cookie: _, ...headers } = credentials.headers
  return { ...credentials, headers }
}

function codeOf(error: unknown): AuthCode {
  const { code, statusCode } = (error ?? {}) as { code?: unknown; statusCode?: unknown }
  if (typeof code === 'string' && code.endsWith('TOKEN_EXPIRED')) return 'TOKEN_EXPIRED'
  return typeof statusCode === 'number' && statusCode >= 500 ? 'AUTH_UNAVAILABLE' : 'TOKEN_INVALID'
}

function jsonLength(value: unknown): number {
  return value === undefined ? 0 : Buffer.byteLength(JSON.stringify(value))
}
