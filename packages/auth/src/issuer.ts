import { AuthArgumentError, AuthUnsupportedError } from './errors.ts'
import { parseStrictObject } from './json.ts'
import type { KeySet } from './key-set.ts'

/** Claims that are ours to set. */
const RESERVED = ['iss', 'aud', 'exp', 'iat', 'nbf', 'jti', 'sid']

/** The claims given at login, as every token has them. */
export interface GivenClaims {
  sub: string
  /** As JSON text. */
  text: string
}

/**
 * Checks the claims given at login, as JSON makes them: getters of a class are not among them, and `toJSON` counts.
 *
 * @throws SCALE_AUTH_ARGUMENT
 */
export function readClaims(given: unknown): GivenClaims {
  const text = toJson(given)
  const claims = text === undefined ? undefined : parseStrictObject(Buffer.from(text))
  if (text === undefined || claims === undefined)
    throw new AuthArgumentError(
      "login needs claims that are a JSON object, at most 16 levels deep and without '__proto__': { sub, … }",
    )
  const { sub, roles, scope, client_id: client } = claims
  if (typeof sub !== 'string' || sub === '' || sub.length > 255)
    throw new AuthArgumentError("login needs a 'sub' that is a text of 1 to 255 characters")
  if (roles !== undefined && !(Array.isArray(roles) && roles.every((role) => typeof role === 'string')))
    throw new AuthArgumentError("the claim 'roles' must be a list of texts")
  if (scope !== undefined && (typeof scope !== 'string' || scope === ''))
    throw new AuthArgumentError("the claim 'scope' must be a text: scopes with a space between")
  if (client !== undefined && (typeof client !== 'string' || client === ''))
    throw new AuthArgumentError("the claim 'client_id' must be a text")
  for (const name of RESERVED)
    if (Object.hasOwn(claims, name)) throw new AuthArgumentError(`the claim '${name}' is set by the issuer alone`)
  return { sub, text }
}

/** Undefined for what JSON does not know: functions, circles, bigints. */
function toJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value) as string | undefined
  } catch {
    return undefined
  }
}

export interface IssuerOptions {
  /** Undefined: the tokens are another issuer's. */
  keys: (() => KeySet) | undefined
  issuer: string
  audience: string
  /** s. */
  ttl: number
  /** Longest token in characters. */
  maxTokenLength: number
  /** ms since 1970. */
  now: () => number
  random: (bytes: number) => Buffer
}

/** Makes access tokens (RFC 9068) with the key that is active now. */
export interface Issuer {
  /**
   * @param claims text as from `readClaims`
   * @param session without it the token has no `sid` and is issued by this process's clock
   * @throws SCALE_AUTH_UNSUPPORTED without a key that signs, SCALE_AUTH_ARGUMENT where the token gets too long
   */
  issue(claims: string, session?: { sid: string; iat: number }): string
}

export function createIssuer(options: IssuerOptions): Issuer {
  const { issuer, audience, ttl, maxTokenLength, now, random } = options
  return {
    issue(claims, session) {
      const sign = options.keys?.().active(now())?.sign
      if (!sign) throw new AuthUnsupportedError("this service verifies another issuer's tokens and issues none")
      const iat = session?.iat ?? Math.floor(now() / 1_000)
      const token = sign({
        ...(JSON.parse(claims) as Record<string, unknown>),
        iss: issuer,
        aud: audience,
        ...(session && { sid: session.sid }),
        jti: random(16).toString('base64url'),
        iat,
        exp: iat + ttl,
      })
      if (token.length > maxTokenLength)
        throw new AuthArgumentError(
          `the claims make a token of ${token.length} characters; at most ${maxTokenLength} are accepted`,
        )
      return token
    },
  }
}
