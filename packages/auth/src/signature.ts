import { type KeyObject, constants, createHmac, createVerify, timingSafeEqual, verify as verifyOnce } from 'node:crypto'

/** The algorithms that a key can be fixed to (RFC 7518, 3.1; RFC 8037). */
export const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA', 'HS256'] as const
export type Algorithm = (typeof ALGORITHMS)[number]

export function isAlgorithm(value: unknown): value is Algorithm {
  return (ALGORITHMS as readonly unknown[]).includes(value)
}

/** Checks a signature over the token's input. */
export type SignatureCheck = (input: string, signature: Buffer) => boolean

/** Prepares the check for one key with the one algorithm that it is for; the token's own `alg` has no say in it. */
export function createSignatureCheck(algorithm: Algorithm, key: KeyObject): SignatureCheck {
  switch (algorithm) {
    case 'HS256':
      return (input, signature) =>
        signature.length === 32 && timingSafeEqual(createHmac('sha256', key).update(input).digest(), signature)
    case 'RS256': {
      const length = modulusBytes(key)
      return (input, signature) =>
        signature.length === length && createVerify('sha256').update(input).verify(key, signature)
    }
    case 'PS256': {
      const length = modulusBytes(key)
      const options = { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
      return (input, signature) =>
        signature.length === length && createVerify('sha256').update(input).verify(options, signature)
    }
    case 'ES256': {
      const options = { key, dsaEncoding: 'ieee-p1363' } as const
      return (input, signature) =>
        signature.length === 64 && createVerify('sha256').update(input).verify(options, signature)
    }
    case 'EdDSA':
      return (input, signature) => signature.length === 64 && verifyOnce(null, Buffer.from(input), key, signature)
  }
}

function modulusBytes(key: KeyObject): number {
  return Math.ceil((key.asymmetricKeyDetails?.modulusLength ?? 0) / 8)
}
