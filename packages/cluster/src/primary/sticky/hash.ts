/** What a client goes by, as 32 bits: FNV-1a. Clients may choose theirs; all they win is a worker. */
export function keyOf(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

/** Scatters neighbouring numbers (the finalizer of MurmurHash3). */
function scatter(value: number): number {
  let hash = value
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/**
 * The slot for a key: rendezvous hashing (Thaler and Ravishankar, 1998). A slot that comes or goes moves its own share
 * of the keys and no other.
 */
export function homeOf(key: number, slots: Iterable<number>): number | undefined {
  let best: number | undefined
  let bestScore = -1
  for (const slot of slots) {
    const score = scatter(key ^ scatter(slot + 1))
    if (score > bestScore || (score === bestScore && slot < (best as number))) {
      best = slot
      bestScore = score
    }
  }
  return best
}
