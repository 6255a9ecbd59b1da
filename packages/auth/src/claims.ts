import { TokenExpiredError, TokenInvalidError } from './errors.ts'
import { freezeParsed } from './json.ts'
import type { VerifiedClaims } from './user.ts'

/** What a token must say to be accepted. */
export interface TokenProfile {
  /** The header's `typ`, compared without case and `application/` (RFC 7515, 4.1.9); undefined: not looked at. */
  typ: string | undefined
  /** The one accepted issuer. */
  issuer: string
  /** One of these must be in `aud`. */
  audience: readonly string[]
  /** `aud` may also be a list. */
  audienceLists: boolean
  /** Claims that must be there. `iss`, `aud`, `sub`, `exp` and `iat` always must. */
  required: readonly string[]
  /** A token without `kid` is refused; else it is taken where the key set has one key. */
  kidRequired: boolean
  /** Longest time in s from `iat` to `exp`. */
  maxLifetime: number
  /** How far in s clocks may differ. */
  clockTolerance: number
}

const TEXT_CLAIMS = ['jti', 'sid', 'scope', 'client_id'] as const

/**
 * Checks the claims of a token whose signature is good (RFC 7519, 4.1; RFC 9068, 4) and returns them frozen.
 *
 * @param now s since 1970
 * @throws SCALE_AUTH_TOKEN_EXPIRED where it is only too old, SCALE_AUTH_TOKEN_INVALID else
 */
export function checkClaims(claims: Record<string, unknown>, profile: TokenProfile, now: number): VerifiedClaims {
  const { iss, aud, sub, exp, iat, nbf, roles } = claims
  if (iss !== profile.issuer) throw new TokenInvalidError("its 'iss' is not the issuer")
  if (!isAudience(aud, profile)) throw new TokenInvalidError("its 'aud' is not this service")
  if (typeof sub !== 'string' || sub === '') throw new TokenInvalidError("its 'sub' is not text")
  if (!isTime(exp)) throw new TokenInvalidError("its 'exp' is not a whole number of seconds")
  if (!isTime(iat)) throw new TokenInvalidError("its 'iat' is not a whole number of seconds")
  if (nbf !== undefined && !isTime(nbf)) throw new TokenInvalidError("its 'nbf' is not a whole number of seconds")
  if (roles !== undefined && !(Array.isArray(roles) && roles.every((role) => typeof role === 'string')))
    throw new TokenInvalidError("its 'roles' is not a list of texts")
  for (const name of TEXT_CLAIMS) {
    const value = claims[name]
    if (value !== undefined && (typeof value !== 'string' || value === ''))
      throw new TokenInvalidError(`its '${name}' is not text`)
  }
  for (const name of profile.required)
    if (claims[name] === undefined || claims[name] === null) throw new TokenInvalidError(`it has no '${name}'`)
  if (exp <= iat) throw new TokenInvalidError("its 'exp' is not after its 'iat'")
  if (exp - iat > profile.maxLifetime) throw new TokenInvalidError('it lives longer than allowed')
  if (iat > now + profile.clockTolerance) throw new TokenInvalidError('it is from the future')
  checkTime(exp, nbf, profile.clockTolerance, now)
  return freezeParsed(claims) as VerifiedClaims
}

/** The part that must be looked at on each use, also of a token that was verified before. */
export function checkTime(exp: number, nbf: unknown, clockTolerance: number, now: number): void {
  if (now >= exp + clockTolerance) throw new TokenExpiredError()
  if (typeof nbf === 'number' && nbf > now + clockTolerance) throw new TokenInvalidError('it is not valid yet')
}

export function matchesTyp(typ: string | undefined, expected: string): boolean {
  return typ !== undefined && normalizeTyp(typ) === normalizeTyp(expected)
}

function normalizeTyp(typ: string): string {
  return typ.toLowerCase().replace(/^application\//, '')
}

/** Finite, whole, not negative, and small enough that adding to it is exact. */
function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 43
}

function isAudience(aud: unknown, { audience: accepted, audienceLists }: TokenProfile): boolean {
  if (typeof aud === 'string') return accepted.includes(aud)
  return (
    audienceLists &&
    Array.isArray(aud) &&
    aud.every((one) => typeof one === 'string') &&
    (aud as string[]).some((one) => accepted.includes(one))
  )
}
