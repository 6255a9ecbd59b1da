import { readFile } from 'node:fs/promises'
import { withDeadline } from '@fastify-scale/kit'
import { keysChannel } from './channels.ts'
import { AuthKeyError } from './errors.ts'
import { type KeySet, createKeySet, loadForeignKeySet, loadKeySet } from './key-set.ts'
import { type KeySource, type LoadedKeySource, fixedKeys, loadedKeys } from './key-source.ts'
import { type Jwks, loadKey } from './keys.ts'
import type { ResolvedOptions } from './resolve-options.ts'
import { fetchJwks } from './remote-jwks.ts'
import { checkSecret, secretKid } from './secret.ts'

export interface KeyLog {
  info(details: object, message: string): void
  warn(details: object, message: string): void
}

/** Between two loads for unknown keys: as often as a stranger's tokens can make us ask. */
const THROTTLE_MS = 10_000

/** A function that never settles would end all reloading without a word. As long as Fastify lets a plugin take. */
const LOAD_TIMEOUT_MS = 10_000

/**
 * Makes the keys of the options ready. Keys of our own must be good now; those of another issuer may come later, since its
 * server may be away.
 *
 * @throws SCALE_AUTH_KEY
 */
export async function openKeys(options: ResolvedOptions, log: KeyLog): Promise<KeySource> {
  const { source, foreign } = options
  if (source.kind === 'secret') return fixedKeys(fromSecrets(source.secrets))
  const skipped = new Set<string>()
  const onSkip = (reason: string): void => {
    // What was given by hand must be good; what another server gives need only have a good part.
    if (source.kind !== 'remote') throw new AuthKeyError(reason)
    if (!skipped.has(reason)) log.warn({ url: source.url.href, reason }, 'a key of the issuer is not used')
    skipped.add(reason)
  }
  const parse = (jwks: Jwks): KeySet =>
    foreign ? loadForeignKeySet(jwks, foreign, onSkip) : requireActive(loadKeySet(jwks))
  if (source.kind === 'keys') return fixedKeys(parse(source.keys))

  const stop = new AbortController()
  let last: string | undefined
  const load = async (): Promise<KeySet | undefined> => {
    const jwks =
      source.kind === 'remote'
        ? await fetchJwks(source.url, stop.signal)
        : await withDeadline(readKeys(source.load), LOAD_TIMEOUT_MS, "loading the option 'keys'")
    const text = JSON.stringify(jwks)
    if (text === last) return undefined
    const keys = parse(jwks)
    last = text
    return keys
  }
  const loaded: LoadedKeySource = loadedKeys({
    load,
    interval: options.keysRefresh,
    throttle: Math.min(THROTTLE_MS, options.keysRefresh),
    onLoad(keys) {
      const active = keys.active(Date.now())?.kid
      log.info({ keys: keys.size, active }, 'auth keys loaded')
      keysChannel.publish(() => ({ event: 'loaded', keys: keys.size, active }))
    },
    onFailure(reason) {
      log.warn({ reason }, 'auth keys could not be loaded; those that were there stay')
      keysChannel.publish(() => ({ event: 'failed', reason }))
    },
  })
  try {
    await loaded.reload()
  } catch (error) {
    // A wrong file is a mistake; another server may only be away.
    if (source.kind !== 'remote') {
      loaded.close()
      throw error
    }
  }
  return {
    ...loaded,
    get loaded() {
      return loaded.loaded
    },
    get failure() {
      return loaded.failure
    },
    close() {
      stop.abort()
      loaded.close()
    },
  }
}

function fromSecrets(secrets: readonly (string | Uint8Array)[]): KeySet {
  const [first] = secrets
  const keys = secrets.map((secret, index) => {
    const name = secrets.length === 1 ? "option 'secret'" : `option 'secret' (number ${index + 1})`
    const bytes = checkSecret(secret, name)
    const jwk = { kty: 'oct', kid: secretKid(bytes), alg: 'HS256', k: bytes.toString('base64url') }
    const key = loadKey(jwk, { name })
    return secret === first ? key : { ...key, sign: undefined }
  })
  return createKeySet(keys)
}

async function readKeys(from: string | (() => Jwks | Promise<Jwks>)): Promise<Jwks> {
  if (typeof from === 'function') return from()
  let text: string
  try {
    text = await readFile(from, 'utf8')
  } catch (error) {
    throw new AuthKeyError(
      `the key set '${from}' can't be read (${(error as NodeJS.ErrnoException).code}): make one with "npx fastify-scale-auth keys new ${from}"`,
    )
  }
  try {
    return JSON.parse(text) as Jwks
  } catch {
    throw new AuthKeyError(`the key set '${from}' is not JSON`)
  }
}

function requireActive(keys: KeySet): KeySet {
  if (!keys.active(Date.now()))
    throw new AuthKeyError(
      "the key set has no private key that is active now, so nothing could be issued; for the public keys of another issuer give the option 'profile'",
    )
  return keys
}
