import type { Duration, RedisSource } from '@fastify-scale/kit'
import type { Jwks } from './keys.ts'
import type { Algorithm } from './signature.ts'

/** Options of `scaleAuth`. Exactly one of `secret`, `keys` and `jwksUrl` says what tokens are verified with. */
export interface ScaleAuthOptions {
  /**
   * HMAC secret of at least 32 bytes (HS256). A list: the first signs, all verify, so that a secret can be changed
   * without logging anybody out: `[old, next]` everywhere, then `[next, old]`, then `[next]`.
   */
  secret?: string | Uint8Array | readonly (string | Uint8Array)[]
  /**
   * Keys of one's own: a JWK set with private keys, the path of a file that holds one (see `fastify-scale-auth keys new`),
   * or a function that returns one, within 10 s. A file or function is asked again every `keysRefresh`.
   */
  keys?: Jwks | string | (() => Jwks | Promise<Jwks>)
  /** The JWK set of another issuer, to verify its tokens without sharing a secret. Nothing can be issued then. */
  jwksUrl?: string
  /** How often `keys` (default 10 s) or `jwksUrl` (default 5 min) is loaded again. */
  keysRefresh?: Duration
  /** `iss` of the tokens: who issues them, usually the service's https URL. Required. */
  issuer: string
  /** `aud` of the tokens: for whom they are. Any of a list is accepted; the first is issued. Default: the issuer. */
  audience?: string | readonly string[]
  /** How long an access token lives: also the hard ceiling for a revocation to take effect. Default 5 min. */
  accessTokenTtl?: Duration
  /** How far the clocks of issuer and verifier may differ. Default 5 s, at most 1 min, with `sessions` at least 1 s. */
  clockTolerance?: Duration
  /**
   * Longest time from `iat` to `exp` that is accepted. Default: `accessTokenTtl`, and 24 h for tokens of another issuer.
   * Before shortening `accessTokenTtl` in a running service, set this to the old value.
   */
  maxTokenLifetime?: Duration
  /**
   * The tokens are another issuer's, and this is what they look like: with `jwksUrl`, with `keys` that are public, or with
   * a `secret` that is shared. Nothing can be issued then. Default with `jwksUrl`: RFC 9068.
   */
  profile?: ProfileOptions
  /** Refresh, logout and revocation, by way of Redis. Default: none. */
  sessions?: SessionOptions | false
  /**
   * Tokens in cookies for browsers, beside the Authorization header. No access token is then made that is longer than the 4,096
   * characters, with the cookie's name, that browsers store; else 8,192. Default: none.
   */
  cookies?: CookieOptions | boolean
  /** Serve the public keys at `/.well-known/jwks.json`, or at `path`. Default: where `keys` are given. */
  jwks?: boolean | { path?: string; maxAge?: Duration }
  /** How many verified tokens are kept in memory, from the second time that one comes. Default 10,000; 0 keeps none. */
  cacheSize?: number
  /** Other names for what the plugin decorates, where a default name is taken. */
  decorators?: Partial<DecoratorNames>
}

export interface ProfileOptions {
  /** The header's `typ`; false: not looked at. Default `'at+jwt'` (RFC 9068). */
  typ?: string | false
  /** Claims that must be there beside iss, aud, sub, exp and iat. Default none. */
  requiredClaims?: readonly string[]
  /** Algorithms accepted. Default RS256, PS256, ES256 and EdDSA. */
  algorithms?: readonly Exclude<Algorithm, 'HS256'>[]
  /** The algorithm of RSA keys that name none. Default RS256. */
  rsaAlgorithm?: 'RS256' | 'PS256'
  /** Take a `jwksUrl` that is neither https nor on this machine. Default false. */
  allowHttp?: boolean
}

export interface SessionOptions {
  /** An ioredis client, a URL or ioredis options. Default: `fastify.redis` of @fastify/redis. */
  redis?: RedisSource
  /** Before every key. Default `'auth:'`. */
  prefix?: string
  /** A session ends when it was not refreshed for this long. Default 14 d. */
  idleTimeout?: Duration
  /** A session ends this long after its login. Default 30 d. */
  absoluteTimeout?: Duration
  /** How long a refresh token that was used gives the same successor again; longer, and its session is ended. Default 10 s. */
  reuseGrace?: Duration
  /** What `staleness()` stays below while Redis is there. Default 5 s, at least 500 ms. */
  maxStaleness?: Duration
  /** Bound of one command to Redis. Default 1 s. */
  commandTimeout?: Duration
}

export interface CookieOptions {
  /** Default `'__Host-access'`; must begin with `__Host-`. */
  accessName?: string
  /** Default `'__Secure-refresh'`; must begin with `__Secure-`. */
  refreshName?: string
  /** Path of the route that refreshes. Default `'/auth'`: routes below it get the refresh token. */
  refreshPath?: string
  /** Default `'Lax'`. */
  sameSite?: 'Strict' | 'Lax' | 'None'
  /** Other origins that may send requests with cookies, such as `https://app.example`; also this one's own, behind a proxy that changes Host. */
  origins?: readonly string[]
}

/** Names of the decorators. */
export interface DecoratorNames {
  /** `app.auth`. */
  auth: string
  /** `app.authenticate`. */
  authenticate: string
  /** `app.requireRole`. */
  requireRole: string
  /** `app.requireScope`. */
  requireScope: string
  /** `request.user`. */
  user: string
}
