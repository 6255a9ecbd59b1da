import { generateKeyPair, randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { AuthKeyError } from './errors.ts'
import type { Jwk, Jwks } from './keys.ts'
import type { Algorithm } from './signature.ts'

const generate = promisify(generateKeyPair)

/** Makes a private key with an id that begins with the day. */
export async function newKey(alg: Exclude<Algorithm, 'HS256'>, activeFrom: Date, now: Date): Promise<Jwk> {
  const { privateKey } =
    alg === 'ES256'
      ? await generate('ec', { namedCurve: 'P-256' })
      : alg === 'EdDSA'
        ? await generate('ed25519', {})
        : await generate('rsa', { modulusLength: 2_048 })
  const kid = `${now.toISOString().slice(0, 10)}-${randomBytes(6).toString('hex')}`
  return {
    kid,
    alg,
    use: 'sig',
    activeFrom: activeFrom.toISOString(),
    ...(privateKey.export({ format: 'jwk' }) as Jwk),
  }
}

/** Where a key is in its life: published, signing, or verifying what it signed. */
export type KeyState = 'next' | 'active' | 'retired'

export interface ListedKey {
  jwk: Jwk
  state: KeyState
  activeFrom: number
  /** When the key that signs after it became active, in ms since 1970; undefined where there is none yet. */
  retiredAt: number | undefined
}

/** The keys of a set, newest first. `now` in ms since 1970. */
export function listKeys(jwks: Jwks, now: number): ListedKey[] {
  const keys = jwks.keys
    .map((jwk) => ({ jwk, activeFrom: jwk.activeFrom === undefined ? 0 : Date.parse(jwk.activeFrom) }))
    .toSorted((a, b) => b.activeFrom - a.activeFrom)
  let successor: number | undefined
  return keys.map(({ jwk, activeFrom }) => {
    const retiredAt = successor
    const state = activeFrom > now ? 'next' : retiredAt === undefined ? 'active' : 'retired'
    if (state !== 'next') successor = activeFrom
    return { jwk, state, activeFrom, retiredAt }
  })
}

/**
 * Adds the next key and takes away those that no live token needs.
 *
 * Every process must know a key before the first token that it signed arrives, so a key is published first and becomes
 * active later; and it must be there until its last token has expired.
 *
 * @param keep ms that a key stays after its successor became active: the token lifetime and the time that a change of the
 * key set takes to reach every process
 * @throws SCALE_AUTH_KEY while a key waits to become active
 */
export function rotate(jwks: Jwks, next: Jwk, keep: number, now: number): { jwks: Jwks; removed: string[] } {
  const listed = listKeys(jwks, now)
  const waiting = listed.find(({ state }) => state === 'next')
  if (waiting)
    throw new AuthKeyError(
      `the key '${waiting.jwk.kid}' is published and becomes active at ${waiting.jwk.activeFrom}: rotate after that`,
    )
  const isOver = ({ retiredAt }: ListedKey): boolean => retiredAt !== undefined && retiredAt + keep <= now
  const removed = listed.filter(isOver).map(({ jwk }) => String(jwk.kid))
  return { jwks: { keys: [next, ...listed.filter((key) => !isOver(key)).map(({ jwk }) => jwk)] }, removed }
}
