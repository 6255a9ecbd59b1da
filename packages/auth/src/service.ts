import { loginChannel, refreshChannel } from './channels.ts'
import { AuthArgumentError, AuthUnsupportedError, RefreshInvalidError, RefreshReusedError } from './errors.ts'
import { type Issuer, readClaims } from './issuer.ts'
import { SID_LENGTH } from './refresh-token.ts'
import type { RevocationEntry } from './revocation.ts'
import type { RevocationStream } from './revocation-stream.ts'
import type { RefreshLook, Session, SessionGrant, SessionStore } from './session.ts'
import type { LoginClaims } from './user.ts'

/** What a client gets (RFC 6749, 5.1). */
export interface Tokens {
  accessToken: string
  /** There where sessions are on. */
  refreshToken?: string
  /** How long the access token lives, in s. */
  expiresIn: number
  /** How long the refresh token lives unless it is used, in s. */
  refreshExpiresIn?: number
}

/** What to revoke. */
export type RevokeTarget =
  /** A session: a logout. */
  | { sid: string }
  /** The session of a refresh token: a logout when the access token is gone or too old. */
  | { refreshToken: string }
  /** All sessions of a subject: log out everywhere. */
  | { sub: string }
  /** One access token. */
  | { jti: string }
  /** Every session of everybody. */
  | { all: true }

export interface RefreshOptions {
  /**
   * Looks at the user again: returns the claims for the new access token and the ones after it, or undefined to end the
   * session. Called before the token is used: where it throws, the refresh rejects with that and the token stays good.
   * Called again with each attempt. Without it the session's claims go on: those of the last update, or of the login.
   */
  update?: (claims: LoginClaims) => LoginClaims | undefined | Promise<LoginClaims | undefined>
}

/** A session of a user's, for a list of their devices; `revoke({ sid })` ends it. */
export interface SessionInfo extends Omit<Session, 'claims'> {
  /** The claims given at login, or by the last update: put the name of the device among them. */
  claims: LoginClaims
}

/** Login, refresh and revocation, without HTTP. */
export interface AuthService {
  login(claims: LoginClaims): Promise<Tokens>
  refresh(refreshToken: string, options?: RefreshOptions): Promise<Tokens>
  revoke(target: RevokeTarget): Promise<void>
  /** The sessions of a subject that can still be refreshed, the oldest first. */
  sessions(sub: string): Promise<SessionInfo[]>
}

/** What a session gives to a token, as long as it will be. */
const TRIAL = { sid: 'x'.repeat(SID_LENGTH), iat: 2_000_000_000 }

export function createAuthService(parts: {
  issuer: Issuer
  /** s. */
  ttl: number
  /** Undefined: sessions are off. */
  sessions: { store: SessionStore; stream: RevocationStream } | undefined
}): AuthService {
  const { issuer, ttl } = parts

  function tokensFor(grant: SessionGrant, claims: string): Tokens {
    return {
      accessToken: issuer.issue(claims, grant),
      refreshToken: grant.refreshToken,
      expiresIn: ttl,
      refreshExpiresIn: Math.floor(grant.refreshTtl / 1_000),
    }
  }

  function needSessions(what: string): { store: SessionStore; stream: RevocationStream } {
    if (!parts.sessions) throw new AuthUnsupportedError(`${what} needs the option 'sessions'`)
    return parts.sessions
  }

  /** First for every process, then in Redis: a session that is half ended is ended for those who ask. */
  async function endSession(sid: string): Promise<void> {
    const { store, stream } = needSessions('ending a session')
    await stream.publish({ kind: 'sid', id: sid })
    await store.end(sid)
  }

  /** Said only when every process will know; until then the session stays dead, and asking again publishes again. */
  async function endReused(sid: string): Promise<never> {
    refreshChannel.publish(() => ({ outcome: 'reused', sid }))
    await needSessions('refresh').stream.publish({ kind: 'sid', id: sid })
    throw new RefreshReusedError()
  }

  /** All that may fail in `update` or in what it returns, before the token is used: then asking again is as good. */
  async function lookAndUpdate(
    refreshToken: string,
    update: NonNullable<RefreshOptions['update']>,
  ): Promise<{ look: RefreshLook; claims: string | undefined }> {
    const look = await needSessions('refresh').store.look(refreshToken)
    if (look.outcome === 'reused') return endReused(look.sid)
    const before = JSON.parse(look.claims) as LoginClaims
    const { sub } = before
    const after = await update(before)
    if (after === undefined) {
      await endSession(look.sid)
      throw new RefreshInvalidError()
    }
    const { sub: subAfter, text: claims } = readClaims(after)
    if (subAfter !== sub) throw new AuthArgumentError("a refresh can't change the 'sub' of a session")
    if (claims === look.claims) return { look, claims: undefined }
    issuer.issue(claims, TRIAL)
    return { look, claims }
  }

  return {
    async login(given) {
      const { sub, text: claims } = readClaims(given)
      if (!parts.sessions) {
        const accessToken = issuer.issue(claims)
        loginChannel.publish(() => ({ sub, sid: undefined }))
        return { accessToken, expiresIn: ttl }
      }
      // What can't become a token must not become a session either.
      issuer.issue(claims, TRIAL)
      const grant = await parts.sessions.store.begin(sub, claims)
      loginChannel.publish(() => ({ sub, sid: grant.sid }))
      return tokensFor(grant, claims)
    },

    async refresh(refreshToken, { update } = {}) {
      const { store } = needSessions('refresh')
      try {
        const change = update && (await lookAndUpdate(refreshToken, update))
        const grant = await store.refresh(refreshToken, change)
        if (grant.outcome === 'reused') return await endReused(grant.sid)
        refreshChannel.publish(() => ({ outcome: grant.outcome, sid: grant.sid }))
        return tokensFor(grant, grant.claims)
      } catch (error) {
        if (error instanceof RefreshInvalidError) refreshChannel.publish(() => ({ outcome: 'invalid' }))
        throw error
      }
    },

    async sessions(sub) {
      const { store } = needSessions('a list of sessions')
      if (typeof sub !== 'string' || sub === '') throw new AuthArgumentError('sessions takes the subject, a text')
      const list = await store.list(sub)
      return list.map((session) => ({ ...session, claims: JSON.parse(session.claims) as LoginClaims }))
    },

    async revoke(target) {
      const { store, stream } = needSessions('revoke')
      const given = Object.entries(target ?? {}).filter(([, value]) => value !== undefined)
      const [kind, value] = given[0] ?? []
      if (given.length !== 1 || !isTarget(kind, value))
        throw new AuthArgumentError('revoke takes one of { sid }, { refreshToken }, { sub }, { jti } and { all: true }')
      const id = value as string
      if (kind === 'sid') return endSession(id)
      if (kind === 'refreshToken') {
        const sid = await store.sidOf(id)
        if (sid !== undefined) await endSession(sid)
        return
      }
      const entry: RevocationEntry =
        kind === 'jti'
          ? { kind, id }
          : kind === 'sub'
            ? { kind, id, at: await store.cutOff(id) }
            : { kind: 'all', at: await store.cutOff(undefined) }
      await stream.publish(entry)
    },
  }
}

function isTarget(kind: string | undefined, value: unknown): boolean {
  if (kind === 'all') return value === true
  return (
    (kind === 'sid' || kind === 'refreshToken' || kind === 'sub' || kind === 'jti') &&
    typeof value === 'string' &&
    value !== ''
  )
}
