import type { FastifyInstance } from 'fastify'

/**
 * What one plugin can do for another without either importing the other. A capability is a decorator under
 * `Symbol.for('fastify-scale.<name>')`: two copies of kit agree on it, no public name is taken, and Fastify's
 * encapsulation decides who sees it.
 */
export interface Capabilities {
  /** Verifies tokens: offered by auth; used by realtime (handshakes) and cache (who is authenticated). */
  authenticator: Authenticator
  /** Negotiates and makes encoded bodies: offered by compress, used by cache. */
  compressor: Compressor
}

/** Offered by auth under `Symbol.for('fastify-scale.authenticator')`. */
export interface Authenticator {
  /**
   * Verifies an access token, synchronously and without I/O; the same path that HTTP uses.
   * Throws a coded error: `SCALE_AUTH_TOKEN_EXPIRED` where it is only too old, else another `SCALE_AUTH_…` code.
   */
  verify(token: string): AuthenticatedUser
  /**
   * Finds the token in the headers of a request (Authorization, or the cookie where cookies are on) and verifies it,
   * with the cross-site check that cookies need. Returns `undefined` where no token was sent.
   */
  fromHeaders(headers: Record<string, string | string[] | undefined>, method: string): AuthenticatedUser | undefined
  /** Calls back when sessions, subjects or tokens are revoked; returns the function that stops it. */
  onRevoked(listener: (isRevoked: (user: AuthenticatedUser) => boolean) => void): () => void
  /** True where this request carried credentials that auth read, by any means (a cookie too). */
  isAuthenticated(request: object): boolean
}

/** The verified claims: frozen, with a null prototype. Times in seconds since 1970 (RFC 7519). */
export interface AuthenticatedUser {
  readonly sub: string
  readonly exp: number
  readonly iat: number
  readonly jti?: string
  readonly sid?: string
  readonly roles?: readonly string[]
  readonly [claim: string]: unknown
}

/** Offered by compress under `Symbol.for('fastify-scale.compressor')`. */
export interface Compressor {
  /**
   * Chooses the encoding for an Accept-Encoding header out of those that are there (RFC 9110, 12.5.3):
   * one of `available`, `'identity'`, or `null` where nothing that was made is acceptable (406).
   */
  negotiate(acceptEncoding: string | undefined, available: readonly string[]): string | null
  /** True where bodies of this content type are worth compressing. */
  isCompressible(contentType: string | undefined): boolean
  /** Makes the encoded forms of one body worth keeping (at least 10% smaller), strongest level for reuse. Empty where none is. */
  encodeVariants(body: Buffer, contentType: string | undefined): Promise<Record<string, Buffer>>
  /**
   * Says, before `onSend`, that the caller chooses this reply's encoding itself (Content-Encoding, Vary, ETag):
   * compress leaves the reply as it is, whichever plugin was registered first.
   */
  takeOver(reply: object): void
}

/** Offers a capability from this context downwards. The first one registered in a context stays. */
export function offerCapability<K extends keyof Capabilities>(
  fastify: FastifyInstance,
  name: K,
  value: Capabilities[K],
): void {
  const key = symbolOf(name)
  if (!fastify.hasDecorator(key)) fastify.decorate(key, value as object)
}

/** Looks for a capability; call it in `onReady` or later, so that the order of registration is free. */
export function findCapability<K extends keyof Capabilities>(
  fastify: FastifyInstance,
  name: K,
): Capabilities[K] | undefined {
  return (fastify as unknown as Record<symbol, Capabilities[K] | undefined>)[symbolOf(name)]
}

function symbolOf(name: string): symbol {
  return Symbol.for(`fastify-scale.${name}`)
}
