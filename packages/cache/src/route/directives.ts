/** Directives by name in lower case; `true` where there is no argument. */
export type Directives = Map<string, string | true>

/** A header's value as Node and Fastify hold it. */
export type HeaderValue = string | number | readonly string[] | undefined

/** All lines of a header as one. */
export function joinLines(value: HeaderValue): string | undefined {
  if (value === undefined) return undefined
  return Array.isArray(value) ? value.join(', ') : String(value)
}

// A token, then nothing, a token or a quoted string; what does not fit up to the next comma is passed over.
const DIRECTIVE =
  /\s*(?:([!#$%&'*+.^_`|~\w-]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^,"]*)))?\s*(?:,|$)|"(?:[^"\\]|\\.)*"|[^,"]+|,|")/g

/**
 * Reads Cache-Control (RFC 9111, 5.2): names in any case, arguments as tokens or quoted strings. Of a directive that is
 * there more than once the first counts (4.2.1).
 */
export function parseDirectives(value: HeaderValue): Directives {
  const found: Directives = new Map()
  const text = joinLines(value)
  if (text === undefined) return found
  // The common case without quotes needs no pattern.
  if (!text.includes('"')) {
    for (const part of text.split(',')) {
      const at = part.indexOf('=')
      const name = (at < 0 ? part.trim() : part.slice(0, at).trimStart()).toLowerCase()
      if (name !== '' && !/\s/.test(name) && !found.has(name))
        found.set(name, at < 0 ? true : part.slice(at + 1).trimEnd())
    }
    return found
  }
  for (const [, name, quoted, token] of text.matchAll(DIRECTIVE)) {
    if (name === undefined || found.has(name.toLowerCase())) continue
    found.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? token?.trimEnd() ?? true)
  }
  return found
}

/** Delta-seconds of a directive: `undefined` where it is not there, 0 where it is there and no such thing. */
export function seconds(directives: Directives, name: string): number | undefined {
  const value = directives.get(name)
  if (value === undefined) return undefined
  return value !== true && /^\d+$/.test(value) ? Math.min(Number(value), 2 ** 31) : 0
}

const ITEM =
  /^[ \t]*([a-z*][a-z0-9_.*-]*)(?:=(-?\d+(?:\.\d+)?|"(?:[^"\\]|\\.)*"|[a-zA-Z*][\w:/!#$%&'*+.^`|~-]*|\?[01]))?((?:[ \t]*;[ \t]*[a-z*][a-z0-9_.*-]*(?:=[^;,]*)?)*)[ \t]*(?:,|$)/

/**
 * Reads a targeted field such as CDN-Cache-Control (RFC 9213): a dictionary of RFC 8941. `undefined` where it is empty
 * or not one, and then Cache-Control rules.
 */
export function parseTargeted(value: HeaderValue): Directives | undefined {
  let rest = joinLines(value)?.trim()
  if (!rest) return undefined
  const found: Directives = new Map()
  while (rest) {
    const match: RegExpExecArray | null = ITEM.exec(rest)
    if (!match) return undefined
    const [all, name, item] = match as unknown as [string, string, string | undefined]
    if (item === '?0') found.delete(name)
    else {
      // Of a key that is there twice a dictionary keeps the last. An argument of another type than the one expected
      // makes the directive unusable.
      found.set(name, item === undefined || item === '?1' ? true : item.startsWith('"') ? `!${item}` : item)
    }
    rest = rest.slice(all.length).trim()
    if (all.endsWith(',') && rest === '') return undefined
  }
  return found.size === 0 ? undefined : found
}
