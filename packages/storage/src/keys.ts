/** Where the objects of an upload live until they are completed; a lifecycle rule empties it after a day. */
export const PENDING = 'pending/'
/** Where private objects live, so that one bucket policy can open everything but them. */
export const PRIVATE = 'private/'

const UUID = '[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}'
const SEGMENT = '[A-Za-z0-9_-][A-Za-z0-9_.-]*'
const KEY = new RegExp(`^(?:${SEGMENT}/)*${UUID}(?:\\.[a-z0-9]{1,10})?$`)
const PREFIX = new RegExp(`^(?:${SEGMENT}/)*${SEGMENT}$`)

/**
 * A UUID version 7 (RFC 9562): 48 bits of Unix time in ms, then 74 random bits; sorts by time, can't be guessed.
 *
 * @param random 16 random bytes; the first six are overwritten by the time
 */
export function uuidv7(now: number, random: Uint8Array): string {
  const bytes = Buffer.from(random)
  bytes.writeUIntBE(now, 0, 6)
  bytes[6] = 0x70 | ((bytes[6] as number) & 0x0f)
  bytes[8] = 0x80 | ((bytes[8] as number) & 0x3f)
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** How large what lies under a pending key may be. */
export interface SizeBound {
  bytes: number
  /** Exactly so many, and not at most. */
  exact: boolean
}

/**
 * The key of a new object: `[pending/][private/]prefix/uuidv7.ext`. Nothing of it comes from the client. A pending key has its
 * bound in place of `ext`: S3 lets nobody change the key of a form or an upload, and says it before the parts are put together.
 */
export function makeKey(parts: {
  prefix: string
  /** Without the dot; empty for none. */
  ext: string
  private?: boolean
  pending?: SizeBound
  now: number
  random: Uint8Array
}): string {
  const ext = parts.pending ? showBound(parts.pending) : parts.ext
  const name = `${uuidv7(parts.now, parts.random)}${ext && `.${ext}`}`
  return `${parts.pending ? PENDING : ''}${parts.private ? PRIVATE : ''}${parts.prefix && `${parts.prefix}/`}${name}`
}

/** True for a key that `makeKey` can have made: everything else in the bucket is somebody else's. */
export function isOwnKey(key: unknown): key is string {
  return typeof key === 'string' && key.length <= 1_024 && KEY.test(key)
}

/** True for a prefix that keys may have: path segments of letters, digits, `_`, `-` and `.`, without slashes at the ends. */
export function isPrefix(prefix: string): boolean {
  return prefix === '' || (prefix.length <= 512 && PREFIX.test(prefix) && !reserved(prefix))
}

/** What a pending key says about the object that it becomes; without `bound` it is of an older release. */
export interface PendingKey {
  prefix: string
  private: boolean
  bound?: SizeBound
}

/** @param key may be anything: clients send it back */
export function parsePending(key: unknown): PendingKey | undefined {
  if (!isOwnKey(key) || !key.startsWith(PENDING)) return undefined
  const rest = key.slice(PENDING.length)
  const isPrivate = rest.startsWith(PRIVATE)
  const path = isPrivate ? rest.slice(PRIVATE.length) : rest
  return {
    prefix: path.slice(0, Math.max(0, path.lastIndexOf('/'))),
    private: isPrivate,
    bound: parseBound(path.slice(path.lastIndexOf('/') + 1).split('.')[1]),
  }
}

// Releases before it take the bound for an extension: at most ten letters and digits. No extension begins with 0 or 1.
function showBound({ bytes, exact }: SizeBound): string {
  return `${exact ? 1 : 0}${bytes.toString(36)}`
}

function parseBound(ext = ''): SizeBound | undefined {
  if (!/^[01]./.test(ext)) return undefined
  return { bytes: Number.parseInt(ext.slice(1), 36), exact: ext.startsWith('1') }
}

function reserved(prefix: string): boolean {
  return `${prefix}/`.startsWith(PENDING) || `${prefix}/`.startsWith(PRIVATE)
}
