import { type ManagerOptions, type Socket, type SocketOptions, io } from 'socket.io-client'
import {
  type AuthCode,
  type CloseCode,
  type JoinRefusal,
  type TokenReply,
  CLOSE,
  GAP,
  RECONNECT,
  TOKEN,
  TOKEN_EXPIRING,
} from '../protocol.ts'
import { add, call } from './listeners.ts'
import type { RawClientSocket } from './raw-socket.ts'
import { ClientRooms } from './rooms.ts'
import { listenBeside } from './upkeep.ts'

/**
 * Why a token is asked for: `connect`: a cached one will do. `expiring`, `expired` and `invalid`: the last one is at its
 * end or was refused, so fetch another.
 */
export type TokenReason = 'connect' | 'expiring' | 'expired' | 'invalid'

export interface RealtimeClientOptions {
  /** Gives the access token. Null, or no `getToken`: none is sent (cookies are). Rejecting counts as a failed attempt: the next one is later. */
  getToken?: (reason: TokenReason) => string | null | Promise<string | null>
  /** The server's `path` option. Default `'/socket.io'`. */
  path?: string
  /** Further options of socket.io-client. */
  socket?: Partial<Omit<ManagerOptions & SocketOptions, 'transports' | 'auth' | 'path' | 'upgrade'>>
}

/** Where no events are named: any, as Socket.IO's own. */
// oxlint-disable-next-line typescript/no-explicit-any
type EventsMap = Record<string, (...args: any[]) => void>
/** As socket.io-client takes it, so that interfaces without an index signature fit. */
type Events<T> = { [K in keyof T]: T[K] extends (...args: infer Args) => void ? (...args: Args) => void : never }

/** A socket.io-client socket that stays in its rooms and in their order. */
export type RealtimeClient<S2C, C2S> = Socket<Events<S2C>, Events<C2S>> & RealtimeMethods

export interface RealtimeMethods {
  /**
   * Joins a room, and again after every reconnect, until `leave`. Resolves when it was joined the first time; rejects
   * with code `SCALE_REALTIME_JOIN_DENIED`, `…_INVALID` or `…_LIMIT`. While the server can't say it goes on asking.
   */
  join(room: string): Promise<void>
  /** Leaves a room: in one with history listeners are called for nothing more, what is on its way included. */
  leave(room: string): void
  /** Names of the rooms that were joined and not left. */
  joined(): string[]
  /** How far this client is in a room with history: of the last message that it was given. */
  position(room: string): { epoch: string; seq: number } | undefined
  /**
   * Within a listener, before anything is awaited: the trace of a message of a room with history (W3C `traceparent`), where
   * the server's option `traceparent` gave one.
   */
  traceparent(): string | undefined
  /** Called when messages of a room with history are lost for this client: load what you show anew. */
  onResync(listener: (room: string) => void): () => void
  /**
   * Called when messages of plain rooms may have been missed: after a lost connection, here (when the client is back in the
   * rooms that it has joined) or at the server. What is loaded then has nothing missing.
   */
  onGap(listener: () => void): () => void
  /** Called when a room that was joined may not be any more. */
  onDenied(listener: (room: string, code: JoinRefusal) => void): () => void
  /** Called when the server has ended the session for good, with its reason; nothing more is tried until `connect()`. */
  onEnded(listener: (code: EndCode) => void): () => void
}

/** `REFUSED`: a middleware of the server's let it not in and gave no code, or there is no such namespace; `connect_error` says more. */
export type EndCode = CloseCode | AuthCode | 'REFUSED'

const RETRY_MS = 500
const RETRY_MAX_MS = 15_000

/**
 * Connects by websocket, fetches and refreshes tokens, comes back after a lost connection, into the same rooms, and in
 * those with history without missing a message, seeing one twice or in another order. For browsers and Node.js.
 *
 * @param url where the server is: `''` or `'/'` for the page's own host, `'https://api.example.com'`, with a path for a
 *   namespace
 */
export function createRealtimeClient<S2C = EventsMap, C2S = EventsMap>(
  url: string,
  options: RealtimeClientOptions = {},
): RealtimeClient<S2C, C2S> {
  const { getToken } = options
  let reason: TokenReason = 'connect'
  /** Counts connections that are begun and given up: a token that was asked for before is for none of them. */
  let attempt = 0
  const socket = io(url, {
    reconnectionDelay: 200,
    reconnectionDelayMax: 5_000,
    ...options.socket,
    ...(options.path === undefined ? {} : { path: options.path }),
    transports: ['websocket'],
    auth: (send: (auth: object) => void) => {
      if (!getToken) return send({})
      const mine = ++attempt
      void askToken(reason).then(
        (token) => {
          if (mine === attempt) send(token === null ? {} : { token })
        },
        () => {
          if (mine !== attempt) return
          disconnect()
          connectLater(1)
        },
      )
    },
  }) as unknown as RealtimeClient<S2C, C2S>
  const raw = socket as unknown as RawClientSocket
  const listen = listenBeside(raw)

  async function askToken(why: TokenReason): Promise<string | null> {
    return getToken ? getToken(why) : null
  }

  const resync = new Set<(room: string) => void>()
  const gap = new Set<() => void>()
  const denied = new Set<(room: string, code: JoinRefusal) => void>()
  const ended = new Set<(code: EndCode) => void>()
  const rooms = new ClientRooms({
    socket: raw,
    listen,
    onResync: (room) => call(resync, room),
    onGap: () => call(gap),
    onDenied: (room, code) => call(denied, room, code),
  })

  // Who connects or disconnects by hand decides: no retry follows.
  const [connect, disconnect] = [socket.connect.bind(socket), socket.disconnect.bind(socket)]
  socket.connect = () => {
    clearTimeout(retry)
    return connect()
  }
  socket.disconnect = () => {
    clearTimeout(retry)
    attempt++
    return disconnect()
  }

  /** Attempts that came to nothing, and before the next of which it waits. */
  let failures = 0
  let retry: ReturnType<typeof setTimeout> | undefined
  let closed: CloseCode | undefined
  let connectedBefore = false
  const { reconnectionDelay = 200 } = options.socket ?? {}

  /** Connects again: at once after the first answer that a new token may help, else after a while that grows. */
  function connectLater(atLeast = 0): void {
    failures = Math.max(failures, atLeast)
    const delay = failures === 0 ? 0 : Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** failures) * (0.5 + Math.random() / 2)
    failures++
    clearTimeout(retry)
    retry = setTimeout(connect, delay)
  }

  function end(code: EndCode): void {
    failures = 0
    call(ended, code)
  }

  listen('connect', () => {
    reason = 'connect'
    failures = 0
    closed = undefined
    clearTimeout(retry)
    socket.io.reconnectionDelay(reconnectionDelay)
    if (connectedBefore) rooms.tellGap()
    connectedBefore = true
  })
  listen('connect_error', (error: Error & { data?: { code?: AuthCode } }) => {
    const code = error.data?.code ?? 'REFUSED'
    // A lost connection, which socket.io-client tries again by itself.
    if (socket.active) return
    const refused = reason
    if (code === 'TOKEN_EXPIRED' && getToken) {
      reason = 'expired'
      connectLater()
    } else if (code === 'TOKEN_INVALID' && getToken && refused === 'connect') {
      reason = 'invalid'
      connectLater()
    } else if (code === 'AUTH_UNAVAILABLE') {
      connectLater(1)
    } else {
      reason = 'connect'
      end(code)
    }
  })
  listen(CLOSE, ({ code }: { code: CloseCode }) => {
    closed = code
  })
  listen('disconnect', (why: string) => {
    attempt++
    if (why !== 'io server disconnect') return
    const code = closed ?? 'DISCONNECTED'
    closed = undefined
    if (code === 'TOKEN_EXPIRED') {
      // Without getToken there may be a newer cookie.
      reason = 'expired'
      connectLater()
    } else {
      end(code)
    }
  })
  listen(TOKEN_EXPIRING, () => void refresh())
  listen(RECONNECT, ({ delay }: { delay: number }) => {
    // Back to the usual delay at the next 'connect'.
    socket.io.reconnectionDelay(Math.max(1, delay))
  })
  listen(GAP, () => call(gap))

  async function refresh(): Promise<void> {
    if (!getToken) return
    try {
      const token = await askToken('expiring')
      if (token === null || !raw.connected)
        return // A refusal changes nothing: at the end of the old token the server closes, and a new connection asks anew.
      ;(await raw.timeout(10_000).emitWithAck(TOKEN, token)) as TokenReply
    } catch {
      // As above.
    }
  }

  const methods: RealtimeMethods = {
    join: (room) => rooms.join(room),
    leave: (room) => rooms.leave(room),
    joined: () => rooms.names(),
    position: (room) => rooms.position(room),
    traceparent: () => rooms.traceparent,
    onResync: (listener) => add(resync, listener),
    onGap: (listener) => add(gap, listener),
    onDenied: (listener) => add(denied, listener),
    onEnded: (listener) => add(ended, listener),
  }
  return Object.assign(socket, methods)
}
