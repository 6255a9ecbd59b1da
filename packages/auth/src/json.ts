import { isUtf8 } from 'node:buffer'

const MAX_DEPTH = 16

/**
 * Parses a JSON object strictly: valid UTF-8, no duplicate names on any level (RFC 7515, 4 and RFC 7519, 4 let a parser
 * take the last one: two parsers that differ see two tokens), no `__proto__`, at most 16 levels deep.
 * Returns undefined for anything else; never throws.
 */
export function parseStrictObject(bytes: Buffer): Record<string, unknown> | undefined {
  if (!isUtf8(bytes)) return undefined
  const text = bytes.toString('utf8')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  return hasCleanNames(text) ? (value as Record<string, unknown>) : undefined
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const OPEN_ARRAY = 0x5b
const CLOSE_ARRAY = 0x5d

/** Walks text that is known to be JSON, and collects the names of each object. */
function hasCleanNames(text: string): boolean {
  const levels: string[][] = []
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i)
    if (char === OPEN_OBJECT || char === OPEN_ARRAY) {
      if (levels.push([]) > MAX_DEPTH) return false
    } else if (char === CLOSE_OBJECT || char === CLOSE_ARRAY) {
      levels.pop()
    } else if (char === QUOTE) {
      const start = i
      let escaped = false
      for (i++; text.charCodeAt(i) !== QUOTE; i++) {
        if (text.charCodeAt(i) !== BACKSLASH) continue
        escaped = true
        i++
      }
      let next = i + 1
      while (isSpace(text.charCodeAt(next))) next++
      if (text.charCodeAt(next) !== COLON) continue
      const name = escaped ? (JSON.parse(text.slice(start, i + 1)) as string) : text.slice(start + 1, i)
      const names = levels[levels.length - 1] as string[]
      // A token has some ten names; a Set costs more than it saves until there are many.
      if (name === '__proto__' || names.length >= 256 || names.includes(name)) return false
      names.push(name)
    }
  }
  return true
}

function isSpace(char: number): boolean {
  return char === 0x20 || char === 0x0a || char === 0x0d || char === 0x09
}
