import type { AuthenticatedUser } from '@fastify-scale/kit'

/**
 * What is revoked. `jti`: one token. `sid`: every token of a session. `sub`: every token of a subject issued at or before
 * `at`. `all`: every token issued at or before `at`.
 */
export type RevocationEntry =
  | { kind: 'jti'; id: string }
  | { kind: 'sid'; id: string }
  | { kind: 'sub'; id: string; at: number }
  | { kind: 'all'; at: number }

/** The revocations that can still matter, in this process's memory. */
export interface Revocations {
  /** True where the token is revoked: two look-ups in Maps, none where nothing is revoked. */
  isRevoked(claims: Pick<AuthenticatedUser, 'sub' | 'iat' | 'jti' | 'sid'>): boolean
  /**
   * Takes an entry in; the later cut-off wins, so that order and repetition do not matter.
   * @param at when it was made, in s since 1970; it can be forgotten `lifetime` later
   */
  add(entry: RevocationEntry, at: number): void
  /** All that is held, for publishing again. */
  entries(): { entry: RevocationEntry; at: number }[]
  /** s since 1970 at or before which every token is revoked; 0 where nothing is. */
  readonly all: number
  readonly size: number
}

interface Held {
  entry: RevocationEntry
  /** s since 1970. */
  at: number
}

/**
 * @param lifetime how long in s an entry can matter: the longest token lifetime and the clock tolerance, with room for
 * clocks that differ
 * @param now s since 1970
 */
export function createRevocations(lifetime: number, now: () => number): Revocations {
  /** Tokens and sessions; a jti and a sid share no key. */
  const ids = new Map<string, Held>()
  const subjects = new Map<string, Held>()
  let all: Held | undefined
  let cutoff = 0

  /** Maps keep the order of insertion, near enough the order of age: the oldest are in front. */
  function forget(map: Map<string, Held>): void {
    const limit = now() - lifetime
    for (const [key, held] of map) {
      if (held.at >= limit) return
      map.delete(key)
    }
  }

  function hold(map: Map<string, Held>, key: string, held: Held): void {
    map.delete(key)
    map.set(key, held)
    forget(map)
  }

  return {
    isRevoked({ sub, iat, jti, sid }) {
      if (iat <= cutoff) return true
      if (ids.size > 0) {
        if (sid !== undefined && ids.has(`s${sid}`)) return true
        if (jti !== undefined && ids.has(`j${jti}`)) return true
      }
      if (subjects.size > 0) {
        const held = subjects.get(sub)
        if (held && iat <= (held.entry as { at: number }).at) return true
      }
      return false
    },
    add(entry, at) {
      if (entry.kind === 'all') {
        if (entry.at <= cutoff) return
        cutoff = entry.at
        all = { entry, at }
      } else if (entry.kind === 'sub') {
        const held = subjects.get(entry.id)
        if (held && (held.entry as { at: number }).at >= entry.at) return
        hold(subjects, entry.id, { entry, at })
      } else {
        const key = `${entry.kind === 'sid' ? 's' : 'j'}${entry.id}`
        hold(ids, key, { entry, at: Math.max(at, ids.get(key)?.at ?? 0) })
      }
    },
    entries() {
      forget(ids)
      forget(subjects)
      const held = [...ids.values(), ...subjects.values()]
      if (all && all.at >= now() - lifetime) held.push(all)
      return held
    },
    get all() {
      return cutoff
    },
    get size() {
      return ids.size + subjects.size + (all ? 1 : 0)
    },
  }
}
