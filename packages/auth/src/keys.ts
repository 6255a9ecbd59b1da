import {
  type JsonWebKey,
  type KeyObject,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  randomBytes,
} from 'node:crypto'
import { createSigner } from 'fast-jwt'
import { decodeBase64url } from './base64url.ts'
import { AuthKeyError } from './errors.ts'
import { checkSecret } from './secret.ts'
import { type Algorithm, type SignatureCheck, createSignatureCheck, isAlgorithm } from './signature.ts'
import { hasRocaFingerprint, isSmallOrder } from './weak-keys.ts'

/** A JSON Web Key (RFC 7517), with the members that this package reads. */
export interface Jwk extends JsonWebKey {
  kty?: string
  kid?: string
  alg?: string
  use?: string
  key_ops?: string[]
  /** Member of our own: from when this key signs (ISO 8601). Before that it is published and accepted. */
  activeFrom?: string
}

/** A JWK set (RFC 7517, 5). */
export interface Jwks {
  keys: Jwk[]
}

/** One key, fixed to one algorithm, ready for use. */
export interface AuthKey {
  readonly kid: string
  readonly alg: Algorithm
  readonly check: SignatureCheck
  /** Signs claims; undefined where only the public part is here. */
  readonly sign: ((claims: Record<string, unknown>) => string) | undefined
  /** The public part for the JWKS route; undefined for a symmetric key, which has none. */
  readonly publicJwk: Jwk | undefined
  /** ms since 1970 from which it signs. */
  readonly activeFrom: number
}

export interface LoadKeyOptions {
  /** What error messages call the key. */
  name: string
  /** The `typ` of tokens that it signs. */
  typ?: string
  /** Algorithm where the JWK names none and its type allows more than one (RSA). Default: refused. */
  rsaAlgorithm?: 'RS256' | 'PS256'
  /** The key comes from a public place: private parts and symmetric keys are refused. */
  publicOnly?: boolean
}

const MIN_RSA_BITS = 2_048
/** The work of one check grows with the square of the length. */
const MAX_RSA_BITS = 8_192
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'] as const

/**
 * Checks a JWK and makes it ready: everything that can be wrong with a key is found here, at the start.
 *
 * @throws SCALE_AUTH_KEY
 */
export function loadKey(jwk: Jwk, options: LoadKeyOptions): AuthKey {
  const { name } = options
  const fail = (reason: string): never => {
    throw new AuthKeyError(`${name} ${reason}`)
  }
  if (typeof jwk !== 'object' || jwk === null || Array.isArray(jwk)) return fail('is not a JWK')
  const { kid } = jwk
  if (typeof kid !== 'string' || kid === '' || kid.length > 256) return fail("has no usable 'kid'")
  const alg = algorithmOf(jwk, options.rsaAlgorithm, fail)
  checkPurpose(jwk, fail)
  if (options.publicOnly && PRIVATE_MEMBERS.some((member) => Object.hasOwn(jwk, member)))
    return fail('has a private or symmetric part in a public key set: it must be taken as known to everyone')
  const activeFrom = jwk.activeFrom === undefined ? 0 : Date.parse(jwk.activeFrom)
  if (Number.isNaN(activeFrom)) return fail("has an 'activeFrom' that is no ISO 8601 time")
  const typ = options.typ ?? 'at+jwt'

  if (alg === 'HS256') {
    const secret = checkSecret(member(jwk, 'k', fail), `${name} (its 'k')`)
    const key = createSecretKey(secret)
    return {
      kid,
      alg,
      activeFrom,
      check: createSignatureCheck(alg, key),
      sign: createSigner({ key: secret, algorithm: alg, header: { alg, typ, kid } }),
      publicJwk: undefined,
    }
  }

  if (Object.hasOwn(jwk, 'oth')) return fail('has more than two primes')
  const publicMembers = checkPublicMembers(jwk, alg, fail)
  const publicKey = importKey(() => createPublicKey({ key: publicMembers, format: 'jwk' }), fail)
  const check = createSignatureCheck(alg, publicKey)
  let sign: AuthKey['sign']
  if (Object.hasOwn(jwk, 'd')) {
    const privateKey = importKey(() => createPrivateKey({ key: jwk, format: 'jwk' }), fail)
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
    sign = importKey(() => createSigner({ key: pem, algorithm: alg, header: { alg, typ, kid } }), fail)
    if (!isPair(sign, check)) return fail('has a private part that does not belong to its public part')
  }
  return { kid, alg, activeFrom, check, sign, publicJwk: { ...publicMembers, kid, alg, use: 'sig' } }
}

type Fail = (reason: string) => never

function algorithmOf(jwk: Jwk, rsaAlgorithm: LoadKeyOptions['rsaAlgorithm'], fail: Fail): Algorithm {
  const { kty, crv } = jwk
  const [type, possible]: [string, Algorithm[]] =
    kty === 'RSA'
      ? ['RSA', ['RS256', 'PS256']]
      : kty === 'EC' && crv === 'P-256'
        ? ['EC P-256', ['ES256']]
        : kty === 'OKP' && crv === 'Ed25519'
          ? ['OKP Ed25519', ['EdDSA']]
          : kty === 'oct'
            ? ['oct', ['HS256']]
            : fail('is of a type that is not supported: use RSA, EC P-256, OKP Ed25519 or oct')
  const alg =
    jwk.alg ?? (possible.length === 1 && kty !== 'oct' ? possible[0] : kty === 'RSA' ? rsaAlgorithm : undefined)
  if (alg === undefined) return fail(`names no 'alg': for ${type} say ${possible.join(' or ')}`)
  // RFC 9864 names the algorithm for this curve alone.
  const known = alg === 'Ed25519' ? 'EdDSA' : alg
  if (!isAlgorithm(known) || !possible.includes(known))
    return fail(`is of type ${type}, which does not go with its 'alg'; it can be ${possible.join(' or ')}`)
  return known
}

/** RFC 7517, 4.2 and 4.3. */
function checkPurpose(jwk: Jwk, fail: Fail): void {
  if (jwk.use !== undefined && jwk.use !== 'sig') fail("is for another use than signatures ('use' is not 'sig')")
  if (jwk.key_ops === undefined) return
  const ops: unknown = jwk.key_ops
  if (!Array.isArray(ops) || new Set(ops).size !== ops.length)
    return fail("has 'key_ops' that is no list of unique names")
  if (!ops.every((op) => op === 'sign' || op === 'verify'))
    return fail("is for other operations than 'sign' and 'verify'")
  const needed = Object.hasOwn(jwk, 'd') ? 'sign' : 'verify'
  if (!ops.includes(needed) && jwk.kty !== 'oct') fail(`has 'key_ops' without '${needed}'`)
  if (jwk.kty === 'oct' && ops.length < 2) fail("has 'key_ops' without 'sign' and 'verify'")
}

/** Returns the public members alone, checked. */
function checkPublicMembers(jwk: Jwk, alg: Algorithm, fail: Fail): Jwk {
  if (alg === 'RS256' || alg === 'PS256') {
    const modulus = toBigInt(member(jwk, 'n', fail))
    const exponent = toBigInt(member(jwk, 'e', fail))
    const bits = modulus.toString(2).length
    if (bits < MIN_RSA_BITS || bits > MAX_RSA_BITS)
      return fail(`has ${bits} bits; RSA keys must have ${MIN_RSA_BITS} to ${MAX_RSA_BITS}`)
    if (exponent < 3n || exponent % 2n === 0n || exponent >= 2n ** 32n)
      return fail("has a public exponent 'e' that is not safe")
    if (modulus % 2n === 0n) return fail("has a modulus 'n' that is even")
    if (hasRocaFingerprint(modulus))
      return fail('was made by a broken library (ROCA): its private part can be computed')
    return { kty: 'RSA', n: jwk.n, e: jwk.e }
  }
  const x = member(jwk, 'x', fail)
  if (x.length !== 32) return fail("has an 'x' that is not 32 bytes long")
  if (alg === 'EdDSA') {
    if (isSmallOrder(x)) return fail('is a point of small order')
    return { kty: 'OKP', crv: 'Ed25519', x: jwk.x }
  }
  if (member(jwk, 'y', fail).length !== 32) return fail("has a 'y' that is not 32 bytes long")
  return { kty: 'EC', crv: 'P-256', x: jwk.x, y: jwk.y }
}

function member(jwk: Jwk, name: 'n' | 'e' | 'x' | 'y' | 'k', fail: Fail): Buffer {
  const value = jwk[name]
  const bytes = typeof value === 'string' ? decodeBase64url(value) : undefined
  return bytes ?? fail(`has no '${name}' in canonical base64url`)
}

function toBigInt(bytes: Buffer): bigint {
  return BigInt(`0x${bytes.toString('hex')}`)
}

function importKey<T>(make: () => T, fail: Fail): T {
  try {
    return make()
  } catch {
    // OpenSSL's reason may repeat parts of the key.
    return fail('is not a valid key')
  }
}

function isPair(sign: AuthKey['sign'], check: SignatureCheck): boolean {
  const token = sign?.({ probe: randomBytes(8).toString('hex') })
  if (token === undefined) return false
  const at = token.lastIndexOf('.')
  return check(token.slice(0, at), Buffer.from(token.slice(at + 1), 'base64url'))
}

/** A KeyObject or PEM as JWK, for users whose keys are in such files. */
export function toJwk(key: KeyObject | string, name: string): Jwk {
  try {
    const object =
      typeof key !== 'string' ? key : key.includes('PRIVATE KEY') ? createPrivateKey(key) : createPublicKey(key)
    return object.export({ format: 'jwk' }) as Jwk
  } catch {
    throw new AuthKeyError(`${name} is not a valid key`)
  }
}
