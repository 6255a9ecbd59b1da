import { type RedisClient, type RedisClock, oneLine, pause } from '@fastify-scale/kit'
import { AuthUnavailableError, RefreshInvalidError } from './errors.ts'
import { cutOffScript } from './lua/cut-off.lua.ts'
import { loginScript } from './lua/login.lua.ts'
import { readCutOffScript } from './lua/read-cut-off.lua.ts'
import { refreshScript } from './lua/refresh.lua.ts'
import {
  type RefreshToken,
  formatRefreshToken,
  hashFamily,
  hashToken,
  newRefreshToken,
  newSid,
  parseRefreshToken,
  subjectTag,
  successorOf,
  tagOf,
} from './refresh-token.ts'

export interface SessionStoreOptions {
  client: RedisClient
  clock: RedisClock
  /** Before every key. */
  prefix: string
  /** ms. */
  idleTimeout: number
  /** ms. */
  absoluteTimeout: number
  /** ms. */
  reuseGrace: number
  /** How long an access token can live with tolerance, in ms. */
  tokenLifetime: number
  /** Bound of one command, in ms. */
  timeout: number
  /** The cut-off for all that this process knows, in s since 1970. */
  knownCutOff: () => number
  random: (bytes: number) => Buffer
}

/** What a login or a refresh gives, for an access token to be made of. */
export interface SessionGrant {
  sid: string
  /** The claims of the session, as JSON text. */
  claims: string
  /** s since 1970. */
  iat: number
  refreshToken: string
  /** ms until the refresh token ends if it is not used. */
  refreshTtl: number
}

/** One session, as a user sees it among their devices. Times in ms since 1970. */
export interface Session {
  sid: string
  startedAt: number
  /** When it was last refreshed; its start where it was not. */
  lastUsedAt: number
  /** When it ends, however busy it is. */
  endsAt: number
  /** The claims given at login, or by the last update, as JSON text. */
  claims: string
}

/** A refresh token that could be used when it was looked at. */
export interface RefreshLook {
  sid: string
  /** The claims of the session, as JSON text. */
  claims: string
  /** ms since 1970. */
  at: number
}

/** A refresh token was used whose successor is out since before the grace window: the session was ended for it. */
export interface RefreshReuse {
  outcome: 'reused'
  sid: string
}

export type RefreshOutcome = 'rotated' | 'repeated' | 'kept'

/** Sessions in Redis: one hash each, one script call for each change, the clock of Redis. Every method rejects with SCALE_AUTH_UNAVAILABLE where Redis does not answer. */
export interface SessionStore {
  begin(sub: string, claims: string): Promise<SessionGrant>
  /** Looks at a refresh token without using it. @throws SCALE_AUTH_REFRESH_INVALID */
  look(token: string): Promise<(RefreshLook & { outcome: 'good' }) | RefreshReuse>
  /**
   * Uses a refresh token.
   * @param change claims for the session from now on (undefined: those it has), after this look at the token
   * @throws SCALE_AUTH_REFRESH_INVALID
   */
  refresh(
    token: string,
    change?: { look: RefreshLook; claims: string | undefined },
  ): Promise<(SessionGrant & { outcome: RefreshOutcome }) | RefreshReuse>
  /** The session of a genuine refresh token, current or older; undefined for any other text. */
  sidOf(token: string): Promise<string | undefined>
  /** The sessions of a subject that can still be refreshed, the newest last. */
  list(sub: string): Promise<Session[]>
  /** Forgets a session: its refresh token is worth nothing any more. */
  end(sid: string): Promise<void>
  /** Moves the cut-off of a subject, or of all, to now; returns it in s since 1970. Sessions begun before it are over. */
  cutOff(sub: string | undefined): Promise<number>
}

/** In place of claims, which are a JSON object. */
const LOOK = 'look'

export function createSessionStore(options: SessionStoreOptions): SessionStore {
  const { client, clock, prefix, idleTimeout, absoluteTimeout, reuseGrace, timeout, random } = options
  const sessionKey = (sid: string): string => `${prefix}session:{${tagOf(sid)}}:${sid}`
  const cutOffKey = (tag: string): string => `${prefix}cut-off:{${tag}}`
  const listKey = (tag: string): string => `${prefix}sessions:{${tag}}`
  const allKey = `${prefix}cut-off-all`

  async function ask<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (error instanceof AuthUnavailableError) throw error
      throw new AuthUnavailableError(oneLine(error))
    }
  }

  const cutOffForAll = async (): Promise<number> => Number((await client.get(allKey)) ?? 0)

  /**
   * Runs a script that issues, with the cut-off for all, which lies on another node of a Cluster, and with the highest `iat`
   * that every later cut-off reaches. The script is the last command: where it ran, nothing else can fail.
   */
  async function issue(run: (deadline: number, cutOff: number, limit: number) => Promise<unknown>): Promise<unknown[]> {
    return ask(async () => {
      for (let waits = 0; ; ) {
        const [cutOff, second] = (await readCutOffScript(client, [allKey], [])) as [string, string]
        const deadline = await clock.deadline(timeout)
        const reply = (await run(
          deadline,
          Math.max(Number(cutOff), options.knownCutOff()),
          Number(second) + 1,
        )) as unknown[]
        if (reply[0] === 'late') throw new AuthUnavailableError('Redis was too slow')
        if (reply[0] !== 'wait') return reply
        if (++waits > 3) throw new AuthUnavailableError('the clock of Redis went back behind a revocation')
        await pause(Number(reply[1]))
      }
    })
  }

  /** @param lookedAt ms since 1970; undefined: now */
  async function use(
    token: RefreshToken,
    lookedAt: number | undefined,
    claims: string | undefined,
  ): Promise<unknown[]> {
    const nonce = random(16).toString('base64url')
    const successor = hashToken(successorOf(token, nonce))
    const reply = await issue((deadline, cutOff, limit) =>
      refreshScript(
        client,
        [sessionKey(token.sid), cutOffKey(tagOf(token.sid))],
        [
          deadline,
          hashFamily(token),
          hashToken(token),
          nonce,
          successor,
          reuseGrace,
          idleTimeout,
          cutOff,
          options.tokenLifetime,
          limit,
          lookedAt ?? '',
          claims ?? '',
        ],
      ),
    )
    if (reply[0] === 'gone') throw new RefreshInvalidError()
    return reply
  }

  const genuine = (text: string): RefreshToken => {
    const token = parseRefreshToken(text)
    if (!token) throw new RefreshInvalidError()
    return token
  }

  return {
    async begin(sub, claims) {
      const token = newRefreshToken(newSid(sub, random), random)
      const { sid } = token
      const [, iat, ttl] = await issue((deadline, cutOff, limit) =>
        loginScript(
          client,
          [sessionKey(sid), cutOffKey(tagOf(sid)), listKey(tagOf(sid))],
          [deadline, claims, hashFamily(token), hashToken(token), idleTimeout, absoluteTimeout, cutOff, sid, limit],
        ),
      )
      return { sid, claims, iat: Number(iat), refreshToken: formatRefreshToken(token), refreshTtl: Number(ttl) }
    },

    async look(text) {
      const token = genuine(text)
      const { sid } = token
      const [outcome, claims, at] = await use(token, undefined, LOOK)
      if (outcome === 'reused') return { outcome, sid }
      return { outcome: 'good', sid, claims: claims as string, at: Number(at) }
    },

    async refresh(text, change) {
      const token = genuine(text)
      const { sid } = token
      const [outcome, claims, iat, ttl, nonce] = await use(token, change?.look.at, change?.claims)
      if (outcome === 'reused') return { outcome, sid }
      const next = outcome === 'kept' ? token : successorOf(token, nonce as string)
      return {
        outcome: outcome as RefreshOutcome,
        sid,
        claims: claims as string,
        iat: Number(iat),
        refreshToken: formatRefreshToken(next),
        refreshTtl: Number(ttl),
      }
    },

    async sidOf(text) {
      const token = parseRefreshToken(text)
      if (!token) return undefined
      const family = await ask(() => client.hget(sessionKey(token.sid), 'family'))
      return family === hashFamily(token) ? token.sid : undefined
    },

    async list(sub) {
      const tag = subjectTag(sub)
      return ask(async () => {
        const [sids, own, all] = await Promise.all([
          client.zrange(listKey(tag), '0', '-1'),
          client.get(cutOffKey(tag)),
          cutOffForAll(),
        ])
        const cutOff = Math.max(Number(own ?? 0), all)
        const sessions = await Promise.all(
          sids.map(async (sid): Promise<Session | undefined> => {
            const fields = await client.hmget(sessionKey(sid), 'born', 'rotated', 'end', 'claims', 'dead')
            const [born, rotated, end, claims, dead] = fields
            if (!born || !claims || dead || Number(born) <= cutOff) return undefined
            const startedAt = Number(born) * 1_000
            return { sid, startedAt, lastUsedAt: Math.max(startedAt, Number(rotated)), endsAt: Number(end), claims }
          }),
        )
        return sessions.filter((session) => session !== undefined)
      })
    },

    async end(sid) {
      await ask(async () => {
        await client.del(sessionKey(sid))
        await client.zrem(listKey(tagOf(sid)), sid)
      })
    },

    async cutOff(sub) {
      const key = sub === undefined ? allKey : cutOffKey(subjectTag(sub))
      const remember = absoluteTimeout + options.tokenLifetime
      return ask(async () =>
        Number(await cutOffScript(client, [key], [remember, sub === undefined ? 'all' : await cutOffForAll()])),
      )
    },
  }
}
