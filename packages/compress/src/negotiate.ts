/** Weights by coding name, in lower case, as an Accept-Encoding header states them. */
export type Weights = ReadonlyMap<string, number>

// A weight is `0`, `1` or a fraction of at most three digits (RFC 9110, 12.4.2).
const MEMBER = /^([!#$%&'*+\-.^_`|~0-9a-z]+)(?:[ \t]*;[ \t]*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?$/

/**
 * Reads an Accept-Encoding header (RFC 9110, 12.5.3). `x-gzip` is `gzip`. A malformed member counts as not there;
 * of a repeated one the first counts.
 */
export function parseAcceptEncoding(header: string): Weights {
  const weights = new Map<string, number>()
  for (const member of header.toLowerCase().split(',')) {
    const match = MEMBER.exec(member.trim())
    if (!match) continue
    const name = match[1] === 'x-gzip' ? 'gzip' : (match[1] as string)
    if (!weights.has(name)) weights.set(name, match[2] === undefined ? 1 : Number(match[2]))
  }
  return weights
}

/**
 * Chooses among what was made: the coding with the highest weight; the order of `available` decides between equals, and
 * any coding goes before an `identity` that the header does not name.
 *
 * Without a header anything is acceptable, and `identity` is what every client understands.
 *
 * @returns one of `available`, `'identity'`, or `null` where the client refuses identity and all that is available
 */
export function negotiate(header: string | undefined, available: readonly string[]): string | null {
  if (header === undefined) return 'identity'
  const weights = weightsOf(header)
  const any = weights.get('*')
  let best: string | null = null
  let bestWeight = 0
  for (const name of available) {
    const weight = weights.get(name) ?? any ?? 0
    if (weight > bestWeight) {
      best = name
      bestWeight = weight
    }
  }
  // Identity is acceptable unless it is refused, by name or by `*;q=0`; unnamed, it is only the last resort.
  const identity = weights.get('identity')
  if (identity !== undefined) return identity > bestWeight ? 'identity' : best
  if (best !== null) return best
  return any === 0 ? null : 'identity'
}

// Clients send a handful of different headers; a hostile one must not make this grow.
const CACHE_LIMIT = 200
const cache = new Map<string, Weights>()

function weightsOf(header: string): Weights {
  let weights = cache.get(header)
  if (!weights) {
    weights = parseAcceptEncoding(header)
    if (cache.size >= CACHE_LIMIT) cache.clear()
    if (header.length <= 256) cache.set(header, weights)
  }
  return weights
}
