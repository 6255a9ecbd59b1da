import type { DefaultEventsMap, Server, Socket } from 'socket.io'

/**
 * Events that the server sends. Augment it, and unknown events and wrong payloads do not compile:
 *
 * ```ts
 * declare module '@fastify-scale/realtime' {
 *   interface ServerToClientEvents { photo: (photo: { id: number; url: string }) => void }
 * }
 * ```
 */
// oxlint-disable-next-line typescript/no-empty-interface
export interface ServerToClientEvents {}

/** Events that clients send. Augment it like `ServerToClientEvents`. */
// oxlint-disable-next-line typescript/no-empty-interface
export interface ClientToServerEvents {}

/** Events of `io.serverSideEmit()`. Augment it like `ServerToClientEvents`. */
// oxlint-disable-next-line typescript/no-empty-interface
export interface InterServerEvents {}

/** What you keep in `socket.data`; `user` is ours. Augment it. */
export interface SocketData {
  /** The verified user; absent for an anonymous socket. */
  user?: RealtimeUser
}

/** A verified user: the claims of the access token, or what `authenticate` returned. */
export interface RealtimeUser {
  /** Whom it is: a refreshed token must have the same. */
  readonly sub: string
  /** When the right to be connected ends, in seconds since 1970 (RFC 7519). Absent: never. */
  readonly exp?: number
  /** The session, for `disconnect({ sid })`. */
  readonly sid?: string
  readonly [claim: string]: unknown
}

/** Any event, while an interface was not augmented. */
type Events<T> = [keyof T] extends [never] ? DefaultEventsMap : T

export type ServerEvents = Events<ServerToClientEvents>
export type ClientEvents = Events<ClientToServerEvents>

/** `app.io` */
export type RealtimeServer = Server<ClientEvents, ServerEvents, Events<InterServerEvents>, SocketData>

/** A socket of `app.io`. */
export type RealtimeSocket = Socket<ClientEvents, ServerEvents, Events<InterServerEvents>, SocketData>

/** Names of events that `publish()` sends. */
export type EventName = keyof ServerEvents & string

/** The data of an event: its listener's first parameter. */
export type EventData<E extends EventName> = ServerEvents[E] extends (...args: infer Args) => void
  ? Args extends []
    ? undefined
    : Args[0]
  : never
