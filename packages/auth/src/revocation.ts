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

/** A cut-off of a subject, and when it was made; both in s since 1970. */
interface Cutoff {
  upTo: number
  made: number
}

/**
 * @param lifetime how long in s an entry can matter: the longest token lifetime and the clock tolerance, with room for
 * clocks that differ
 * @param now s since 1970
 */
export function createRevocations(lifetime: number, now: () => number): Revocations {
  /** Tokens, and sessions: when each was revoked, in s since 1970. No more than that, since there may be many. */
  const tokens = new Map<string, number>()
  const sessions = new Map<string, number>()
  const subjects = new Map<string, Cutoff>()
  let all: Cutoff | undefined
  /** `all.upTo`, for the way of every request. */
  let cutoff = 0

  /** Maps keep the order of insertion, near enough the order of age: the oldest are in front. */
  function forget<T>(map: Map<string, T>, madeAt: (held: T) => number): void {
    const limit = now() - lifetime
    for (const [key, held] of map) {
      if (madeAt(held) >= limit) return
      map.delete(key)
    }
  }

  function hold<T>(map: Map<string, T>, key: string, held: T, madeAt: (held: T) => number): void {
    map.delete(key)
    map.set(key, held)
    forget(map, madeAt)
  }

  return {
    isRevoked({ sub, iat, jti, sid }) {
      if (iat <= cutoff) return true
      if (sessions.size > 0 && sid !== undefined && sessions.has(sid)) return true
      if (tokens.size > 0 && jti !== undefined && tokens.has(jti)) return true
      if (subjects.size > 0) {
        const held = subjects.get(sub)
        if (held && iat <= held.upTo) return true
      }
      return false
    },
    add(entry, at) {
      if (entry.kind === 'all') {
        if (entry.at <= cutoff) return
        cutoff = entry.at
        all = { upTo: cutoff, made: at }
      } else if (entry.kind === 'sub') {
        if ((subjects.get(entry.id)?.upTo ?? Number.NEGATIVE_INFINITY) >= entry.at) return
        hold(subjects, entry.id, { upTo: entry.at, made: at }, cutoffMade)
      } else {
        const map = entry.kind === 'sid' ? sessions : tokens
        hold(map, entry.id, Math.max(at, map.get(entry.id) ?? 0), itself)
      }
    },
    entries() {
      forget(tokens, itself)
      forget(sessions, itself)
      forget(subjects, cutoffMade)
      const held: { entry: RevocationEntry; at: number }[] = []
      for (const [id, at] of sessions) held.push({ entry: { kind: 'sid', id }, at })
      for (const [id, at] of tokens) held.push({ entry: { kind: 'jti', id }, at })
      for (const [id, { upTo, made }] of subjects) held.push({ entry: { kind: 'sub', id, at: upTo }, at: made })
      if (all && all.made >= now() - lifetime) held.push({ entry: { kind: 'all', at: all.upTo }, at: all.made })
      return held
    },
    get all() {
      return cutoff
    },
    get size() {
      return tokens.size + sessions.size + subjects.size + (all ? 1 : 0)
    },
  }
}

const itself = (at: number): number => at
const cutoffMade = ({ made }: Cutoff): number => made
