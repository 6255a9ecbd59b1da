import { LRUCache } from 'lru-cache'
import { decodeBase64url } from './base64url.ts'
import { type TokenProfile, checkClaims, checkTime, matchesTyp } from './claims.ts'
import { TokenInvalidError, TokenRevokedError } from './errors.ts'
import { createFirstSeen } from './first-seen.ts'
import type { KeySet } from './key-set.ts'
import type { AuthKey } from './keys.ts'
import { checkHeader, decodePart, splitToken } from './token.ts'
import type { VerifiedClaims } from './user.ts'

export interface VerifierOptions {
  profile: TokenProfile
  /** The keys of this moment; another object after a change. */
  keys: () => KeySet
  /** Called for a `kid` that no key has; must return at once. */
  onUnknownKid?: (kid: string) => void
  isRevoked: (claims: VerifiedClaims) => boolean
  /** How many verified tokens are kept, from the second time that they come; 0 keeps none. */
  cacheSize: number
  /** ms since 1970. */
  now: () => number
}

export interface Verifier {
  /** Verifies one token; see `app.auth.verify`. */
  verify(token: string): VerifiedClaims
  /** True where this very token passed `verify` and is still held: what is left to check are its time and its revocation. */
  holds(token: string): boolean
}

interface Held {
  token: string
  claims: VerifiedClaims
}

/**
 * The end of a token is the end of its signature: as good a key as the whole, which V8 would hash anew for each request,
 * since each request brings a new string. The whole token is compared before an entry is used.
 */
const KEY_LENGTH = 43

/** The most that the kept tokens may hold, in characters of theirs. */
const MAX_CACHED_LENGTH = 16 * 1_024 * 1_024

/**
 * The one way in: HTTP, sockets and guards all verify here, synchronously. A token that was verified before costs a look
 * into the LRU, its time and its revocation; the signature is checked the first two times that a process sees the token.
 */
export function createVerifier(options: VerifierOptions): Verifier {
  const { profile, isRevoked, now, cacheSize } = options
  let keys = options.keys()
  const cache =
    cacheSize > 0
      ? new LRUCache<string, Held>({
          max: cacheSize,
          maxSize: MAX_CACHED_LENGTH,
          sizeCalculation: ({ token }) => token.length,
        })
      : undefined
  const cameBefore = createFirstSeen(cacheSize)
  /** Header part -> key, of headers that came with a good signature: an issuer writes the same one every time. */
  const headers = new Map<string, AuthKey>()

  function useKeys(next: KeySet): void {
    keys = next
    // A token of a key that was taken away must not live on in here.
    cache?.clear()
    headers.clear()
  }

  function keyFor(part: string): AuthKey {
    const { alg, kid, typ } = checkHeader(decodePart(part, 'header'))
    const key = kid !== undefined ? keys.find(kid) : profile.kidRequired ? undefined : keys.only
    if (!key) {
      if (kid !== undefined) options.onUnknownKid?.(kid)
      throw new TokenInvalidError('its key is not known')
    }
    if (alg !== key.alg) throw new TokenInvalidError("its 'alg' is not the one of its key")
    if (profile.typ !== undefined && !matchesTyp(typ, profile.typ))
      throw new TokenInvalidError(`its 'typ' is not '${profile.typ}'`)
    return key
  }

  function verifyCold(token: string, seconds: number): VerifiedClaims {
    const parts = splitToken(token)
    const known = headers.get(parts.header)
    const key = known ?? keyFor(parts.header)
    const signature = decodeBase64url(parts.signature)
    if (!signature || !isGood(key, parts.input, signature)) throw new TokenInvalidError('its signature is wrong')
    if (!known && headers.size < 100) headers.set(parts.header, key)
    return checkClaims(decodePart(parts.payload, 'payload'), profile, seconds)
  }

  function find(token: string): VerifiedClaims | undefined {
    const current = options.keys()
    if (current !== keys) useKeys(current)
    // Callers without types may hand over anything; what is no token is refused where it is taken apart.
    const held = typeof token === 'string' ? cache?.get(token.slice(-KEY_LENGTH)) : undefined
    return held && held.token === token ? held.claims : undefined
  }

  return {
    holds: (token) => find(token) !== undefined,
    verify(token) {
      const seconds = now() / 1_000
      let claims = find(token)
      if (claims) checkTime(claims.exp, claims['nbf'], profile.clockTolerance, seconds)
      else {
        claims = verifyCold(token, seconds)
        if (cache && cameBefore(token)) cache.set(token.slice(-KEY_LENGTH), { token, claims })
      }
      if (isRevoked(claims)) throw new TokenRevokedError()
      return claims
    },
  }
}

/** OpenSSL throws for some forms of a wrong signature, where it returns false for others. */
function isGood(key: AuthKey, input: string, signature: Buffer): boolean {
  try {
    return key.check(input, signature)
  } catch {
    return false
  }
}
