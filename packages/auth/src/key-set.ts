import { AuthKeyError } from './errors.ts'
import { type AuthKey, type Jwk, type Jwks, type LoadKeyOptions, loadKey } from './keys.ts'

/** The keys that tokens are verified with, by key id; and the one that signs. */
export interface KeySet {
  /** Looks a key up by the token's `kid`. */
  find(kid: string): AuthKey | undefined
  /** The key that signs at this moment (ms since 1970): of those with a private part, the one activated last. */
  active(now: number): AuthKey | undefined
  /** All public parts, the next and the retired ones too. */
  publicJwks(): { keys: Jwk[] }
  readonly size: number
  /** The only key, for tokens without `kid`; undefined where there are more. */
  readonly only: AuthKey | undefined
}

const MAX_KEYS = 100

/**
 * Loads a JWK set that is ours: every key must be good.
 *
 * @throws SCALE_AUTH_KEY
 */
export function loadKeySet(jwks: Jwks, options: Omit<LoadKeyOptions, 'name'> = {}): KeySet {
  const keys = listOf(jwks).map((jwk, index) => loadKey(jwk, { ...options, name: nameOf(jwk, index) }))
  return createKeySet(keys)
}

/**
 * Loads the JWK set of another issuer: what is not for us (encryption, other algorithms) is left out, and so is what is
 * not safe; `onSkip` hears why, and may throw.
 *
 * @throws SCALE_AUTH_KEY where it is no JWK set or no key is left
 */
export function loadForeignKeySet(
  jwks: Jwks,
  options: Omit<LoadKeyOptions, 'name' | 'publicOnly'> & { algorithms?: readonly string[] },
  onSkip: (reason: string) => void,
): KeySet {
  const keys: AuthKey[] = []
  listOf(jwks).forEach((given, index) => {
    try {
      // RFC 7517, 4.5 leaves `kid` out where there is no choice.
      const jwk = given?.kid === undefined ? { ...given, kid: `#${index}` } : given
      const key = loadKey(jwk, { ...options, publicOnly: true, name: nameOf(given, index) })
      if (options.algorithms && !options.algorithms.includes(key.alg))
        onSkip(`${nameOf(given, index)} is for ${key.alg}`)
      else keys.push(key)
    } catch (error) {
      onSkip((error as Error).message)
    }
  })
  return createKeySet(keys)
}

export function createKeySet(keys: readonly AuthKey[]): KeySet {
  if (keys.length === 0) throw new AuthKeyError('the key set has no usable key')
  const byKid = new Map<string, AuthKey>()
  for (const key of keys) {
    if (byKid.has(key.kid)) throw new AuthKeyError(`the key set has two keys with the 'kid' ${JSON.stringify(key.kid)}`)
    byKid.set(key.kid, key)
  }
  if (new Set(keys.map((key) => key.alg === 'HS256')).size > 1)
    throw new AuthKeyError('the key set has a symmetric key beside an asymmetric one: use one kind')
  const signing = keys.filter((key) => key.sign).toSorted((a, b) => b.activeFrom - a.activeFrom)
  return {
    find: (kid) => byKid.get(kid),
    active: (now) => signing.find((key) => key.activeFrom <= now),
    publicJwks: () => ({ keys: keys.map((key) => key.publicJwk).filter((jwk) => jwk !== undefined) }),
    size: keys.length,
    only: keys.length === 1 ? keys[0] : undefined,
  }
}

function listOf(jwks: Jwks): Jwk[] {
  const keys = jwks?.keys
  if (!Array.isArray(keys)) throw new AuthKeyError("a key set must be an object with a list 'keys' (RFC 7517, 5)")
  if (keys.length > MAX_KEYS)
    throw new AuthKeyError(`a key set of ${keys.length} keys is not used: at most ${MAX_KEYS}`)
  return keys
}

function nameOf(jwk: Jwk, index: number): string {
  return typeof jwk?.kid === 'string' ? `key ${JSON.stringify(jwk.kid.slice(0, 64))}` : `key ${index} of the key set`
}
