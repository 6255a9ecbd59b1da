import type { RedisAdapter } from './adapter.ts'
import { publishChannel } from './channels.ts'
import { RoomOptionError, UnavailableError } from './errors.ts'
import type { ConfiguredRooms } from './history-setup.ts'
import type { Known } from './history-store.ts'
import { askTraceparent, checkTarget, encodePayload } from './message.ts'
import type { RoomRule } from './room-options.ts'
import { type JoinReply, type JoinedPosition, JOINED } from './protocol.ts'
import type { PublishOptions, PublishResult, Realtime, RealtimeStats } from './realtime.ts'
import type { DisconnectTarget, RawSocket, Sessions } from './sessions.ts'
import type { RealtimeServer } from './types.ts'

/** Emits events whose names the user's types do not have. */
export interface Emitter {
  emit(event: string, ...args: unknown[]): unknown
}

export interface ApiOptions {
  io: RealtimeServer
  adapter: RedisAdapter | undefined
  configured: ConfiguredRooms | undefined
  sessions: Sessions
  /** The option. */
  traceparent: (() => string | undefined) | undefined
  ruleOf: (room: string) => RoomRule | undefined
  join: (socket: RawSocket, room: string, position: Known | undefined) => Promise<JoinReply>
  gapListeners: Set<(ms: number) => void>
  drain: (budget?: number) => Promise<void>
  state: () => Pick<RealtimeStats, 'connections' | 'draining'>
}

/** Asks the other processes to end sockets, over `serverSideEmit`. */
const DISCONNECT = 'realtime:disconnect'

/** What `app.realtime` is. */
export function createApi(options: ApiOptions): Realtime {
  const { io, adapter, configured, sessions, traceparent, ruleOf, join, gapListeners, drain, state } = options
  io.on(DISCONNECT as never, ((target: DisconnectTarget) => sessions.disconnect(target)) as never)
  return {
    publish: (async (room: string, event: string, data: unknown, { id }: PublishOptions = {}) => {
      checkTarget(room, event, id)
      const begun = performance.now()
      const rule = ruleOf(room)
      let result: PublishResult = { room, seq: null, epoch: null, duplicate: false }
      if (configured && rule && rule.history > 0)
        result = {
          room,
          ...(await configured.publisher.publish(
            room,
            rule,
            encodePayload(event, data, askTraceparent(traceparent)),
            id,
          )),
        }
      else (io.to(room) as unknown as Emitter).emit(event, data)
      publishChannel.publish(() => ({ room, event, seq: result.seq, ms: performance.now() - begun }))
      return result
    }) as Realtime['publish'],
    async join(socket, room) {
      try {
        const reply = await join(socket as unknown as RawSocket, room, undefined)
        if (!('epoch' in reply)) return
        const { epoch, seq } = reply
        ;(socket as unknown as RawSocket).emit(JOINED, { room, epoch, seq } satisfies JoinedPosition)
      } catch (error) {
        throw new UnavailableError(`room '${room}' could not be joined: ${(error as Error).message}`)
      }
    },
    async presence(room) {
      if (!configured || !ruleOf(room)?.presence)
        throw new RoomOptionError(`presence of room '${room}' is not kept: name it, or a pattern, in option 'rooms'`)
      try {
        return await configured.presence.list(room)
      } catch (error) {
        throw new UnavailableError(`presence of room '${room}' could not be read: ${(error as Error).message}`)
      }
    },
    disconnect(target) {
      sessions.disconnect(target)
      if (adapter) (io as unknown as { serverSideEmit: Emitter['emit'] }).serverSideEmit(DISCONNECT, target)
    },
    onGap(listener) {
      gapListeners.add(listener)
      return () => void gapListeners.delete(listener)
    },
    drain,
    stats: () => ({
      ...state(),
      rooms: configured?.rooms.size ?? 0,
      dropped: adapter?.dropped ?? 0,
    }),
  }
}
