import type { AuthenticatedUser } from '@fastify-scale/kit'

/**
 * The claims that your service puts into its tokens. Augment it once and `request.user`, `app.auth.login()` and
 * `app.requireRole()` are typed:
 *
 * ```ts
 * declare module '@fastify-scale/auth' {
 *   interface AuthUser { roles: ('admin' | 'user')[] }
 * }
 * ```
 */
// oxlint-disable-next-line typescript/no-empty-object-type -- users augment it
export interface AuthUser {}

/** The claims that every accepted token has or may have. Times are in seconds since 1970 (RFC 7519, 2: NumericDate). */
export interface TokenClaims {
  /** Who: the subject. */
  readonly sub: string
  /** When it ends. */
  readonly exp: number
  /** When it was issued. */
  readonly iat: number
  /** The issuer. */
  readonly iss: string
  /** For whom. */
  readonly aud: string | readonly string[]
  /** The token's own id; always there in tokens that this package issued. */
  readonly jti?: string
  /** The session; there where sessions are on. */
  readonly sid?: string
  readonly roles?: readonly string[]
  /** Scopes with a space between (RFC 8693, 4.2). */
  readonly scope?: string
}

/** `request.user`: the verified claims, frozen and with a null prototype. */
export type RequestUser = Omit<TokenClaims, keyof AuthUser> & Readonly<AuthUser>

/** What `login()` takes: the subject, and the claims of your own. */
export type LoginClaims = { sub: string } & AuthUser &
  Omit<{ roles?: readonly string[]; scope?: string }, keyof AuthUser> & { readonly [claim: string]: unknown }

/** The roles that `AuthUser` names, or any text where it names none. */
export type Role =
  NonNullable<AuthUser[keyof AuthUser & 'roles']> extends readonly (infer R extends string)[] ? R : string

/** The claims as the verifier hands them out, before they get the service's own type. */
export type VerifiedClaims = AuthenticatedUser & { readonly iss: string; readonly aud: string | readonly string[] }
