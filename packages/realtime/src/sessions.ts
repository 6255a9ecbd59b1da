import type { IncomingHttpHeaders } from 'node:http'
import type { AuthenticatedUser } from '@fastify-scale/kit'
import { type Verify, HandshakeRefusal, tokenOf } from './authentication.ts'
import { Expiry } from './expiry.ts'
import { type CloseCode, type TokenReply, CLOSE, TOKEN, TOKEN_EXPIRING } from './protocol.ts'
import type { AdmittedRequest } from './transport.ts'
import type { RealtimeUser } from './types.ts'

/** The part of a Socket.IO socket that is used here; the user's event types do not matter. */
export interface RawSocket {
  readonly id: string
  readonly connected: boolean
  readonly data: { user?: RealtimeUser }
  readonly handshake: { auth: Record<string, unknown>; headers: IncomingHttpHeaders }
  readonly request: AdmittedRequest
  readonly rooms: ReadonlySet<string>
  readonly conn: { readonly writeBuffer: readonly unknown[]; readonly readyState: string; close(): void }
  /** Socket.IO's side of the connection. */
  readonly client: { readonly sockets: ReadonlyMap<string, RawSocket> }
  join(room: string): Promise<void> | void
  leave(room: string): Promise<void> | void
  emit(event: string, ...args: unknown[]): unknown
  on(event: string, listener: (...args: never[]) => void): unknown
  disconnect(close?: boolean): unknown
}

export interface SessionsOptions {
  verify: Verify
  /** ms */
  tokenWarning: number
  now?: () => number
}

/** Whom to disconnect. All that is given must fit. */
export interface DisconnectTarget {
  sub?: string
  sid?: string
}

/** Says why a user's sockets are ended, or undefined where they are not. */
type Ending = (user: RealtimeUser) => CloseCode | undefined

/** Who is connected to this process, for how long, and until when. */
export class Sessions {
  readonly #options: SessionsOptions
  readonly #sockets = new Set<RawSocket>()
  /** Sockets whose handshake, or the check of a fresh token, is under way, and what has ended users meanwhile. */
  readonly #arriving = new Map<RawSocket, Ending[]>()

  constructor(options: SessionsOptions) {
    this.#options = options
  }

  /**
   * From now on whatever ends users counts for this socket too, though it may not be known yet whose it is. To be called
   * before `authenticate`; returns what is to be called after `open`, or when the socket was refused.
   */
  expect(socket: RawSocket): () => void {
    this.#arriving.set(socket, [])
    return () => void this.#arriving.delete(socket)
  }

  /** Why a socket whose handshake is under way may not be let in any more. */
  endedMeanwhile(socket: RawSocket): CloseCode | undefined {
    const { user } = socket.data
    if (!user) return undefined
    for (const ending of this.#arriving.get(socket) ?? []) {
      const code = ending(user)
      if (code) return code
    }
    return undefined
  }

  /** Checks a handshake and keeps the user in `socket.data`. Rejects with `HandshakeRefusal`. */
  async authenticate(socket: RawSocket): Promise<void> {
    const { auth, headers } = socket.handshake
    const user = await this.#verify(socket, auth, tokenOf(auth, headers))
    if (user) socket.data.user = user
  }

  /** Watches a connected socket until it is gone. */
  open(socket: RawSocket): void {
    const expiry = new Expiry({
      warning: this.#options.tokenWarning,
      onWarning: (exp) => socket.emit(TOKEN_EXPIRING, { exp }),
      onExpired: () => closeSocket(socket, 'TOKEN_EXPIRED'),
      now: this.#options.now,
    })
    expiry.set(socket.data.user?.exp)
    this.#sockets.add(socket)
    let checking = false
    socket.on(TOKEN, (token: unknown, reply: unknown) => {
      if (typeof reply !== 'function' || checking) return
      checking = true
      void this.#refresh(socket, token, expiry)
        .then((answer) => reply(answer))
        .finally(() => (checking = false))
    })
    socket.on('disconnect', () => {
      expiry.clear()
      this.#sockets.delete(socket)
    })
    const code = this.endedMeanwhile(socket)
    if (code) closeSocket(socket, code)
  }

  /** Ends the sockets of revoked users. */
  revoke(isRevoked: (user: AuthenticatedUser) => boolean): void {
    this.#end((user) => (isRevoked(user as AuthenticatedUser) ? 'TOKEN_REVOKED' : undefined))
  }

  /** Ends the sockets of a user or a session in this process. */
  disconnect({ sub, sid }: DisconnectTarget): void {
    if (sub === undefined && sid === undefined) return
    this.#end((user) =>
      (sub === undefined || user.sub === sub) && (sid === undefined || user.sid === sid) ? 'DISCONNECTED' : undefined,
    )
  }

  #end(ending: Ending): void {
    for (const socket of this.#sockets) {
      const code = socket.data.user && ending(socket.data.user)
      if (code) closeSocket(socket, code)
    }
    for (const [socket, endings] of this.#arriving) {
      // Of one that is gone nobody hears any more where a middleware never goes on.
      if (socket.conn.readyState === 'open') endings.push(ending)
      else this.#arriving.delete(socket)
    }
  }

  async #refresh(socket: RawSocket, token: unknown, expiry: Expiry): Promise<TokenReply> {
    if (typeof token !== 'string') return { ok: false, code: 'TOKEN_INVALID' }
    const forget = this.expect(socket)
    try {
      const user = await this.#verify(socket, { token }, token)
      if (!user || user.sub !== socket.data.user?.sub) return { ok: false, code: 'TOKEN_INVALID' }
      // It may have ended meanwhile; nothing is kept for it then.
      if (socket.connected) {
        socket.data.user = user
        expiry.set(user.exp)
        const ended = this.endedMeanwhile(socket)
        if (ended) closeSocket(socket, ended)
      }
      return { ok: true, exp: user.exp }
    } catch (error) {
      return { ok: false, code: error instanceof HandshakeRefusal ? error.data.code : 'AUTH_UNAVAILABLE' }
    } finally {
      forget()
    }
  }

  #verify(socket: RawSocket, auth: Record<string, unknown>, token: string | undefined) {
    const { headers } = socket.handshake
    const { address, host } = socket.request.origin
    return this.#options.verify({ token, auth, headers, address, host })
  }
}

/**
 * Says why, and ends the socket; its connection too, if it is the last one there: those of other namespaces end for reasons of
 * their own. Clients do not come back by themselves from this.
 */
export function closeSocket(socket: RawSocket, code: CloseCode): void {
  socket.emit(CLOSE, { code })
  socket.disconnect()
  if (socket.client.sockets.size === 0) socket.conn.close()
}
