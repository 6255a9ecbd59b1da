import {
  type KeyObject,
  type VerifyKeyObjectInput,
  constants,
  createHmac,
  createVerify,
  timingSafeEqual,
  verify,
} from 'node:crypto'

/** The algorithms that a key can be fixed to (RFC 7518, 3.1; RFC 8037). */
export const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA', 'HS256'] as const
export type Algorithm = (typeof ALGORITHMS)[number]

export function isAlgorithm(value: unknown): value is Algorithm {
  return (ALGORITHMS as readonly unknown[]).includes(value)
}

/** Checks a signature over the token's input, which is ASCII. */
export type SignatureCheck = (input: string, signature: Buffer) => boolean

/** Prepares the check for one key with the one algorithm that it is for; the token's own `alg` has no say in it. */
export function createSignatureCheck(algorithm: Algorithm, key: KeyObject): SignatureCheck {
  switch (algorithm) {
    case 'HS256':
      return (input, signature) =>
        signature.length === 32 && timingSafeEqual(createHmac('sha256', key).update(input).digest(), signature)
    case 'RS256':
      return hashed({ key, padding: constants.RSA_PKCS1_PADDING }, modulusBytes(key))
    case 'PS256': {
      // RFC 7518, 3.5: the salt is as long as the hash.
      const saltLength = constants.RSA_PSS_SALTLEN_DIGEST
      return hashed({ key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength }, modulusBytes(key))
    }
    case 'ES256':
      return hashed({ key, dsaEncoding: 'ieee-p1363' }, 64)
    case 'EdDSA':
      return (input, signature) => signature.length === 64 && verify(null, Buffer.from(input, 'latin1'), key, signature)
  }
}

/** A signature of another length is none, whatever OpenSSL would make of it. */
function hashed(options: VerifyKeyObjectInput, length: number): SignatureCheck {
  return (input, signature) =>
    signature.length === length && createVerify('sha256').update(input).verify(options, signature)
}

function modulusBytes(key: KeyObject): number {
  return Math.ceil((key.asymmetricKeyDetails?.modulusLength ?? 0) / 8)
}
