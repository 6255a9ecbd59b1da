import { createHash, createHmac } from 'node:crypto'

/**
 * A refresh token: `rt1.<session id>.<family><secret>`. The family part stays through all rotations of a session and
 * proves that a token was ours even when it is older than Redis remembers; the secret part changes. Redis holds hashes
 * alone: who reads it can't make a token.
 */
export interface RefreshToken {
  sid: string
  /** 16 bytes. */
  family: Buffer
  /** 32 bytes. */
  secret: Buffer
}

/** Characters of a session id. */
export const SID_LENGTH = 38
const FORM = new RegExp(`^rt1\\.([A-Za-z0-9_-]{${SID_LENGTH}})\\.([A-Za-z0-9_-]{64})$`)
const FAMILY_BYTES = 16
const SECRET_BYTES = 32

export function newRefreshToken(sid: string, random: (bytes: number) => Buffer): RefreshToken {
  return { sid, family: random(FAMILY_BYTES), secret: random(SECRET_BYTES) }
}

export function formatRefreshToken({ sid, family, secret }: RefreshToken): string {
  return `rt1.${sid}.${Buffer.concat([family, secret]).toString('base64url')}`
}

/** Undefined for what is no refresh token by its form. */
export function parseRefreshToken(text: unknown): RefreshToken | undefined {
  const match = typeof text === 'string' ? FORM.exec(text) : null
  if (!match) return undefined
  const bytes = Buffer.from(match[2] as string, 'base64url')
  return { sid: match[1] as string, family: bytes.subarray(0, FAMILY_BYTES), secret: bytes.subarray(FAMILY_BYTES) }
}

/** The one successor of a token for a nonce: only who has the token can compute it, so Redis need not hold it. */
export function successorOf(token: RefreshToken, nonce: string): RefreshToken {
  const secret = createHmac('sha256', Buffer.concat([token.family, token.secret]))
    .update(nonce)
    .digest()
  return { ...token, secret }
}

export function hashFamily(token: RefreshToken): string {
  return createHash('sha256').update(token.family).digest('base64url')
}

export function hashToken(token: RefreshToken): string {
  return createHash('sha256').update(token.family).update(token.secret).digest('base64url')
}

/** A session id: its first 16 characters come from the subject, so that a session lies beside its subject's cut-off in a Cluster. */
export function newSid(sub: string, random: (bytes: number) => Buffer): string {
  return subjectTag(sub) + random(16).toString('base64url')
}

export function subjectTag(sub: string): string {
  return createHash('sha256').update(sub).digest().subarray(0, 12).toString('base64url')
}

export function tagOf(sid: string): string {
  return sid.slice(0, 16)
}
