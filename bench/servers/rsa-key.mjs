import { createPrivateKey, generateKeyPairSync } from 'node:crypto'

/**
 * A new private key as a JWK, by way of its text: on Node.js 20 the export of a key that was just made can wait for ever
 * for what made it.
 */
export function newRsaKey() {
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2_048,
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
  return createPrivateKey(privateKey).export({ format: 'jwk' })
}
