import { createHmac, createPublicKey, createPrivateKey } from 'node:crypto'
import { AuthKeyError } from './errors.ts'

const MIN_BYTES = 32
const MIN_DISTINCT = 8

/**
 * Checks an HMAC secret (RFC 7518, 3.2: at least as long as the hash) and returns its bytes. A secret that is really a
 * public key, as PEM, JWK or DER, would let everyone who knows that key make tokens, so none of those is taken.
 *
 * @throws SCALE_AUTH_KEY; the message holds nothing of the secret
 */
export function checkSecret(secret: string | Uint8Array, name: string): Buffer {
  if (typeof secret !== 'string' && !(secret instanceof Uint8Array))
    throw new AuthKeyError(`${name} must be text or bytes`)
  const bytes = typeof secret === 'string' ? Buffer.from(secret, 'utf8') : Buffer.from(secret)
  if (bytes.length < MIN_BYTES)
    throw new AuthKeyError(
      `${name} must have at least ${MIN_BYTES} bytes, but has ${bytes.length}: make one with "openssl rand -base64 48"`,
    )
  if (new Set(bytes).size < MIN_DISTINCT)
    throw new AuthKeyError(
      `${name} has fewer than ${MIN_DISTINCT} different bytes: make one with "openssl rand -base64 48"`,
    )
  const kind = looksLikeKey(bytes)
  if (kind)
    throw new AuthKeyError(`${name} looks like ${kind}: give asymmetric keys as 'keys', and a random text as 'secret'`)
  return bytes
}

/** A key id for a secret: the tokens that it signs tell as much about it as this does. */
export function secretKid(secret: Buffer): string {
  return createHmac('sha256', secret).update('fastify-scale-auth key id').digest('base64url').slice(0, 16)
}

function looksLikeKey(bytes: Buffer): string | undefined {
  const text = bytes.toString('latin1')
  if (/-----\s*BEGIN/i.test(text)) return 'PEM'
  if (/^\s*(ssh-|ecdsa-sha2-)/.test(text)) return 'an SSH key'
  if (/^[\s\ufeff]*[{[]/.test(bytes.toString('utf8')) && /"(kty|keys)"/.test(text)) return 'JWK'
  if (isDer(bytes)) return 'DER'
  const compact = text.replace(/\s/g, '')
  if (/^[A-Za-z0-9+/_-]+={0,2}$/.test(compact)) {
    const decoded = Buffer.from(compact, 'base64')
    if (isDer(decoded)) return 'base64 of DER'
    if (/-----\s*BEGIN/i.test(decoded.toString('latin1'))) return 'base64 of PEM'
    if (/^\s*\{/.test(decoded.toString('latin1')) && /"kty"/.test(decoded.toString('latin1'))) return 'base64 of JWK'
  }
  return undefined
}

function isDer(bytes: Buffer): boolean {
  if (bytes[0] !== 0x30) return false
  for (const type of ['spki', 'pkcs1'] as const)
    if (parses(() => createPublicKey({ key: bytes, format: 'der', type }))) return true
  for (const type of ['pkcs8', 'pkcs1', 'sec1'] as const)
    if (parses(() => createPrivateKey({ key: bytes, format: 'der', type }))) return true
  return false
}

function parses(parse: () => unknown): boolean {
  try {
    parse()
    return true
  } catch {
    return false
  }
}
