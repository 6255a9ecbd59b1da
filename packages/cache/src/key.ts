import { createHash } from 'node:crypto'
import { KeyError } from './errors.ts'

/** Version of the layout of keys and entries: releases with another one do not see each other's entries. */
export const FORMAT = 1

/** The longest key that stands in Redis as it is, in characters; longer ones are hashed (SHA-256). */
const LONGEST = 200

/** Number of records that tags are spread over. */
export const BUCKETS = 1_024

// Braces would move the hash tag, `%` is our escape; lone surrogates would all become the same U+FFFD.
const UNSAFE = /[%{}\p{Cc}\p{Surrogate}]/u
const UNSAFE_ALL = /[%{}\p{Cc}\p{Surrogate}]/gu

/**
 * The names of everything the cache keeps in Redis. The value and the lease of one key share a hash tag, so that one
 * script may touch both on a Redis Cluster.
 */
export interface KeySpace {
  /** `<prefix>:1:v:{key}`. */
  readonly valuePrefix: string
  /** `<prefix>:1:l:{key}`. */
  readonly leasePrefix: string
  /** `<prefix>:1:t:<bucket>`. */
  readonly tagPrefix: string
  /** What the names of all copies of the epoch begin with. */
  readonly epoch: string
  /** `<prefix>:1:e`, on a Cluster `<prefix>:1:e:{a}` and so on: the copies of the epoch. */
  readonly epochs: readonly string[]
  /** `<prefix>:1:c`, on a Cluster `<prefix>:1:c:{a}` and so on: the copies of the logical clock. */
  readonly clocks: readonly string[]
}

// Their slots are 3300, 7365 and 15495: with slots spread evenly over three masters, one on each.
const COPIES = ['{b}', '{c}', '{a}']

/** @param cluster true on a Redis Cluster: what every load needs is there in copies on several masters */
export function createKeySpace(prefix: string, cluster: boolean): KeySpace {
  const root = `${prefix}:${FORMAT}:`
  return {
    valuePrefix: `${root}v:`,
    leasePrefix: `${root}l:`,
    tagPrefix: `${root}t:`,
    epoch: `${root}e`,
    epochs: cluster ? COPIES.map((tag) => `${root}e:${tag}`) : [`${root}e`],
    clocks: cluster ? COPIES.map((tag) => `${root}c:${tag}`) : [`${root}c`],
  }
}

/**
 * Makes a user's key fit for Redis, one to one: braces, control characters and lone surrogates are escaped, a long key
 * is replaced by its hash.
 *
 * @throws SCALE_CACHE_KEY where it is not a text of at least one character
 */
export function encodeKey(key: string): string {
  if (typeof key !== 'string' || key === '')
    throw new KeyError(`a cache key must be a text of at least one character, but is ${key === '' ? "''" : typeof key}`)
  if (key.length <= LONGEST && !UNSAFE.test(key)) return key
  const safe = key.replace(UNSAFE_ALL, (char) => `%${char.charCodeAt(0).toString(16).padStart(2, '0')}`)
  if (safe.length <= LONGEST) return safe
  // `%%` can't come from escaping, so a hashed key is never another key's escaped form.
  return `%%${createHash('sha256').update(safe).digest('base64url')}`
}

/** The record that a tag's invalidations are kept in: FNV-1a over UTF-16 units. */
export function bucketOf(tag: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < tag.length; i++) hash = Math.imul(hash ^ tag.charCodeAt(i), 0x01000193)
  return (hash >>> 0) % BUCKETS
}
