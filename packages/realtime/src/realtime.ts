import type { PresenceMember } from './presence.ts'
import type { DisconnectTarget } from './sessions.ts'
import type { EventData, EventName, RealtimeSocket } from './types.ts'

export interface PublishOptions {
  /**
   * Idempotency key, text that is not empty: a second publish to the room with the same key, from any process, within the room's `ttl` (at least
   * a minute) does nothing and returns the first one's position. For history rooms.
   */
  id?: string
}

export interface PublishResult {
  room: string
  /** The message's number in a history room; null for a plain room. */
  seq: number | null
  /** The numbering that `seq` belongs to; null for a plain room. */
  epoch: string | null
  /** True where the idempotency key was used before. */
  duplicate: boolean
}

/** `app.realtime` */
export interface Realtime {
  /**
   * Sends an event to everybody in a room, on every process.
   *
   * In a room with history the promise resolves when the message is stored: all see it, once, in the same order.
   * Messages of one process keep the order of the calls. To a plain room it is `io.to(room).emit()`: resolved at once.
   *
   * @throws SCALE_REALTIME_PUBLISH_TIMEOUT not confirmed within `publishTimeout`: unknown whether it was stored
   * @throws SCALE_REALTIME_PUBLISH_OVERFLOW too much waits already: not stored
   * @throws SCALE_REALTIME_PUBLISH_INVALID a bad room or event name or `id`, or data that can't be sent
   */
  publish<E extends EventName>(
    room: string,
    event: E,
    ...args: EventData<E> extends undefined
      ? [data?: undefined, options?: PublishOptions]
      : [data: EventData<E>, options?: PublishOptions]
  ): Promise<PublishResult>
  /**
   * Lets a socket join a room, without asking `authorizeRoom`. Like `socket.join()`, and for a room with history it
   * resolves when every later message will arrive. The client of this package then knows where it is: back from a lost
   * connection and let in again, it hears `onResync` if it missed something. To let it show what was before, send that, or
   * an event that makes the client load it, when this has resolved.
   *
   * @throws SCALE_REALTIME_UNAVAILABLE the history could not be reached within 5 s, or the client is gone: catch it in a listener
   */
  join(socket: RealtimeSocket, room: string): Promise<void>
  /**
   * Who is in a room, on every process. Right after a crash it may name sockets of the process that is gone, for at most
   * `presenceTtl`.
   *
   * @throws SCALE_REALTIME_ROOM_OPTION the room fits no pattern of `rooms`, or has `presence: false`
   * @throws SCALE_REALTIME_UNAVAILABLE Redis did not answer in time
   */
  presence(room: string): Promise<PresenceMember[]>
  /**
   * Ends the sockets of a user or a session, on every process that Redis reaches now. Those too whose handshake is under
   * way: called in a middleware, it refuses the very socket that the middleware lets in, if that is one of them.
   */
  disconnect(target: DisconnectTarget): void
  /** Calls back when Redis is back after `ms`: broadcasts to plain rooms may have been missed. Returns what stops it. */
  onGap(listener: (ms: number) => void): () => void
  /** Refuses handshakes from now on and closes every connection within `budget` ms. Once; later calls wait for the first. */
  drain(budget?: number): Promise<void>
  /** What this process has, now. */
  stats(): RealtimeStats
}

export interface RealtimeStats {
  /** Open connections. */
  connections: number
  /** History rooms that are followed. */
  rooms: number
  /** Messages for the other processes that were not sent, or perhaps not. */
  dropped: number
  /** True after `drain()`. */
  draining: boolean
}
