/** Bounds of the table, in entries of 4 bytes. */
const MIN_ENTRIES = 1_024
const MAX_ENTRIES = 1 << 20

/**
 * Remembers in fixed memory which verified tokens came by a short while ago, so that only what comes again is kept: the
 * doorkeeper of TinyLFU (Einziger, Friedman, Manes, "TinyLFU: A Highly Efficient Cache Admission Policy", 2017). Tokens
 * that come once push out nothing, and the collector has nothing of theirs to carry.
 *
 * It may forget (a later token took the place) or confuse two tokens (one in 2^32): what follows is a verification more
 * or a token kept early, never another answer.
 *
 * @param cacheSize how many tokens the cache behind it holds
 * @returns true where this token was shown to it before; it remembers it from now on
 */
export function createFirstSeen(cacheSize: number): (token: string) => boolean {
  const entries = Math.min(MAX_ENTRIES, Math.max(MIN_ENTRIES, 2 ** Math.ceil(Math.log2(4 * cacheSize))))
  const seen = new Int32Array(entries)
  return (token) => {
    // Of the signature, near its end, six characters: as random as a hash of the whole would be (FNV-1a mixes them).
    let hash = 0x811c9dc5
    for (let i = token.length - 8; i < token.length - 2; i++) hash = Math.imul(hash ^ token.charCodeAt(i), 0x01000193)
    const place = (hash ^ (hash >>> 16)) & (entries - 1)
    if (seen[place] === hash) return true
    seen[place] = hash
    return false
  }
}
