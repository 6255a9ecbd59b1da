import { isUtf8 } from 'node:buffer'

const MAX_DEPTH = 16

/**
 * Parses a JSON object strictly: valid UTF-8, no duplicate names on any level (RFC 7515, 4 and RFC 7519, 4 let a parser
 * take the last one: two parsers that differ see two tokens), no `__proto__`, at most 16 levels deep.
 * Returns undefined for anything else; never throws.
 */
export function parseStrictObject(bytes: Buffer): Record<string, unknown> | undefined {
  if (!isUtf8(bytes)) return undefined
  let value: unknown
  try {
    value = JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  // A name that was there twice is one name, with two colons.
  return countNames(value, 1) === countColons(bytes) ? (value as Record<string, unknown>) : undefined
}

/** How many names parsed JSON has; NaN where a name or the depth is not allowed. */
function countNames(value: object, depth: number): number {
  if (depth > MAX_DEPTH) return Number.NaN
  let count = 0
  if (Array.isArray(value)) {
    for (const item of value as unknown[])
      if (typeof item === 'object' && item !== null) count += countNames(item, depth + 1)
    return count
  }
  for (const name of Object.keys(value)) {
    if (name === '__proto__') return Number.NaN
    count++
    const item = (value as Record<string, unknown>)[name]
    if (typeof item === 'object' && item !== null) count += countNames(item, depth + 1)
  }
  return count
}

/**
 * Freezes what the parser made, in place and through and through, and takes the prototypes away: nothing that is not in
 * the JSON can be read from it.
 */
export function freezeParsed<T extends object>(value: T): T {
  const items: unknown[] = Array.isArray(value) ? value : Object.values(Object.setPrototypeOf(value, null) as object)
  for (const item of items) if (typeof item === 'object' && item !== null) freezeParsed(item)
  return Object.freeze(value)
}

const QUOTE = 0x22
const COLON = 0x3a
const BACKSLASH = 0x5c

/** The colons outside of strings, one for each name, in what is known to be JSON. */
function countColons(bytes: Buffer): number {
  let count = 0
  let inString = false
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]
    if (inString) {
      if (byte === BACKSLASH) i++
      else if (byte === QUOTE) inString = false
    } else if (byte === QUOTE) inString = true
    else if (byte === COLON) count++
  }
  return count
}
