/**
 * What server and client say to each other beyond Socket.IO's own protocol. Events that begin with `realtime:` are ours;
 * a plain Socket.IO client may ignore them, or speak them in any language.
 *
 * **Joining.** The client emits `realtime:join` with a list of up to 100 `JoinRequest`s and gets, as the acknowledgement,
 * a `JoinReply` for each, in the same order. `realtime:leave` takes a list of names; its acknowledgement says that nothing
 * more of them comes, and that no join which was under way will succeed: it was answered with `UNAVAILABLE`, or will be.
 *
 * **History rooms.** Each message of such a room has a number, `seq`, one more than that of the one before it, within an
 * `epoch`: text made when the room was first used, and made anew when Redis has lost its data. A message arrives as the
 * user's own event with one argument more, at the end: a `Position`. A client that
 * - remembers the last `seq` and `epoch` of the room,
 * - drops a message with a `seq` that it has had,
 * - sends both with `realtime:join` when it is back: what it missed is sent first, in order, then what is new,
 * loses none, sees none twice and sees all in one order, the same as every other client. Where that can't be (the history
 * is shorter than the absence, or the epoch is another) it is told once: `resync: true` in the reply, or, while connected,
 * the event `realtime:resync` with the `Position` that counts from now. It should load what it shows anew.
 *
 * A socket that the server lets join (`app.realtime.join()`) is sent `realtime:joined` with its `JoinedPosition`: what follows
 * has a higher `seq`. A client that was in that room before, and is not as far, has missed what is between, and should load
 * what it shows anew: nothing is sent again where it did not ask.
 *
 * **Tokens.** `realtime:token-expiring` with `{ exp }` asks for a fresh token of the same subject, to be sent as
 * `realtime:token`; the acknowledgement is a `TokenReply`. A socket that the server ends for a reason is told so
 * first, by `realtime:close` with `{ code }`; others of its connection stay. A refused handshake says its code in `connect_error`, as `message` and as
 * `data.code`.
 *
 * **Draining.** `realtime:reconnect` with `{ delay }` is followed by the end of the connection: come back after `delay` ms.
 *
 * **Gaps.** `realtime:gap` with `{ ms }`: messages of plain rooms, sent by other processes, may have been missed.
 */
export const PROTOCOL_VERSION = 1

export const JOIN = 'realtime:join'
export const LEAVE = 'realtime:leave'
export const TOKEN = 'realtime:token'
export const TOKEN_EXPIRING = 'realtime:token-expiring'
export const RESYNC = 'realtime:resync'
export const JOINED = 'realtime:joined'
export const RECONNECT = 'realtime:reconnect'
export const CLOSE = 'realtime:close'
export const GAP = 'realtime:gap'

/** Most rooms in one `realtime:join`. */
export const MAX_JOINS = 100
/** Longest name of a room that clients may join, in UTF-16 units. */
export const MAX_ROOM_LENGTH = 200

/** Where in a room a message stands: the last argument of every event of a history room. */
export interface Position {
  /** Version of this protocol; also what tells a position from an argument of the user's. */
  $rt: number
  room: string
  epoch: string
  seq: number
  /** The trace that the message belongs to (W3C Trace Context), where the server says so. */
  traceparent?: string
}

/** Of no message: it has no `$rt`, which would count as having had one. */
export interface JoinedPosition {
  room: string
  epoch: string
  seq: number
}

export interface JoinRequest {
  room: string
  /** With `seq`: the last position that the client has of this room. */
  epoch?: string
  seq?: number
}

export type JoinReply =
  /** A plain room. */
  | { ok: true }
  /** A history room: what follows has a higher `seq`. `resync`: what was missed can't be sent. */
  | { ok: true; epoch: string; seq: number; resync?: boolean }
  | { ok: false; code: JoinRefusal }

/**
 * `DENIED`: not authorized. `INVALID`: not a name of a room. `LIMIT`: too many rooms.
 * `UNAVAILABLE`: not possible now, try again later.
 */
export type JoinRefusal = 'DENIED' | 'INVALID' | 'LIMIT' | 'UNAVAILABLE'

export type TokenReply = { ok: true; exp?: number } | { ok: false; code: AuthCode }

/** Why a handshake or a fresh token was refused. */
export type AuthCode =
  /** Fetch a new token and try again. */
  | 'TOKEN_EXPIRED'
  /** No token, or not a good one; for a fresh one also: of another subject. */
  | 'TOKEN_INVALID'
  /** The page's origin may not connect with cookies. */
  | 'ORIGIN_DENIED'
  /** `auth` is larger than is taken. */
  | 'AUTH_TOO_LARGE'
  /** It could not be found out now; try again later. */
  | 'AUTH_UNAVAILABLE'
  /** The user's sockets were ended while the handshake went on. */
  | 'TOKEN_REVOKED'
  | 'DISCONNECTED'

/** Why the server ended a socket. */
export type CloseCode = 'TOKEN_EXPIRED' | 'TOKEN_REVOKED' | 'DISCONNECTED'

export function isPosition(value: unknown): value is Position {
  if (typeof value !== 'object' || value === null) return false
  const { $rt, room, epoch, seq } = value as Partial<Position>
  return $rt === PROTOCOL_VERSION && typeof room === 'string' && typeof epoch === 'string' && typeof seq === 'number'
}
