import {
  type KeyObject,
  constants,
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
} from 'node:crypto'
import type { Jwk, Jwks } from '../src/index.ts'
import { ISSUER } from './service.ts'

export type TestAlg = 'RS256' | 'PS256' | 'ES256' | 'EdDSA'

export interface TestKey {
  kid: string
  alg: TestAlg
  privateKey: KeyObject
  publicKey: KeyObject
  jwk: Jwk
}

type Generate = (type: string, options: object) => { privateKey: string }

/**
 * A key that went through its text. On Node.js 20 one that was just made must not be exported: a garbage collection
 * meanwhile takes away what made it, and that waits for the lock which the export holds.
 */
export function generate(type: 'rsa' | 'ec' | 'ed25519' | 'x25519', options: object = {}): KeyObject {
  const { privateKey } = (generateKeyPairSync as unknown as Generate)(type, {
    ...options,
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
  return createPrivateKey(privateKey)
}

export function makeKey(alg: TestAlg, kid: string = alg): TestKey {
  const privateKey =
    alg === 'ES256'
      ? generate('ec', { namedCurve: 'P-256' })
      : alg === 'EdDSA'
        ? generate('ed25519')
        : generate('rsa', { modulusLength: 2048 })
  const publicKey = createPublicKey(privateKey)
  return { kid, alg, privateKey, publicKey, jwk: { ...(privateKey.export({ format: 'jwk' }) as Jwk), kid, alg } }
}

export const setOf = (...keys: TestKey[]): Jwks => ({ keys: keys.map(({ jwk }) => jwk) })

export const b64 = (data: string | Buffer): string => Buffer.from(data).toString('base64url')
export const json = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))

/** Signs text with a key of the given algorithm, whatever the header says. */
export function signature(input: string, key: Pick<TestKey, 'alg' | 'privateKey'>): Buffer {
  const data = Buffer.from(input)
  switch (key.alg) {
    case 'RS256':
      return sign('sha256', data, key.privateKey)
    case 'PS256':
      return sign('sha256', data, {
        key: key.privateKey,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
      })
    case 'ES256':
      return sign('sha256', data, { key: key.privateKey, dsaEncoding: 'ieee-p1363' })
    case 'EdDSA':
      return sign(null, data, key.privateKey)
  }
}

/** A token of any header and payload (JSON text or a value), with a good signature of the key. */
export function forge(key: TestKey, header: unknown, payload: unknown): string {
  const input = `${b64(json(header))}.${b64(json(payload))}`
  return `${input}.${b64(signature(input, key))}`
}

/** The same with HMAC, over any secret. */
export function forgeHmac(secret: string | Buffer, header: unknown, payload: unknown, hash = 'sha256'): string {
  const input = `${b64(json(header))}.${b64(json(payload))}`
  return `${input}.${createHmac(hash, secret).update(input).digest('base64url')}`
}

export function goodClaims(now: number = Math.floor(Date.now() / 1_000)): Record<string, unknown> {
  return { sub: 'u1', roles: ['user'], iss: ISSUER, aud: ISSUER, jti: 'j1', iat: now, exp: now + 300 }
}

export const goodHeader = (key: { alg: string; kid: string }): Record<string, unknown> => ({
  alg: key.alg,
  typ: 'at+jwt',
  kid: key.kid,
})
