import type { Connections } from '@fastify-scale/kit'
import type { Emitter } from './api.ts'
import { HistoryStore } from './history-store.ts'
import { HistoryRooms } from './history.ts'
import type { ResolvedOptions } from './options.ts'
import type { RoomRule } from './room-options.ts'
import { Presence } from './presence.ts'
import { Publisher } from './publisher.ts'
import type { RawSocket } from './sessions.ts'
import { Subscriber } from './subscriber.ts'
import type { RealtimeServer } from './types.ts'

/** What the rooms of option `rooms` need: nothing of it is made where there are none. */
export interface ConfiguredRooms {
  rooms: HistoryRooms
  publisher: Publisher
  presence: Presence
  /** True while messages of history rooms arrive. */
  readonly standing: boolean
  close(): Promise<void>
}

/** A namespace's sockets, and those that its middlewares have not let in yet, which may be in rooms already. */
interface Sockets {
  sockets: ReadonlyMap<string, Pick<RawSocket, 'data'>>
  _preConnectSockets?: ReadonlyMap<string, Pick<RawSocket, 'data'>>
}

/** Longest wait for one answer of Redis, in ms. */
const COMMAND_MS = 1_000

export async function setUpRooms(
  io: RealtimeServer,
  options: ResolvedOptions,
  connections: Connections,
  ruleOf: (room: string) => RoomRule | undefined,
  log: { error(details: object, message: string): void },
): Promise<ConfiguredRooms> {
  const client = await connections.command({ timeout: COMMAND_MS, name: 'history' })
  const prefix = connections.keyPrefix + options.prefix
  const store = new HistoryStore({ client, sharded: connections.cluster, prefix })
  const rooms = new HistoryRooms({
    store,
    emit: (room, event, ...args) => (io.local.to(room) as unknown as Emitter).emit(event, ...args),
    members: (room) => io.sockets.adapter.rooms.get(room)?.size ?? 0,
    log,
    checkInterval: options.checkInterval,
  })
  const subscriber = new Subscriber({
    client: connections.follower({
      name: 'history-subscriber',
      overrides: { autoResubscribe: false },
      clusterOverrides: { shardedSubscribers: true },
    }),
    onSubscribed: () => void rooms.onSubscribed(),
  })
  rooms.listen(subscriber)
  const publisher = new Publisher({
    store,
    known: (room) => rooms.known(room),
    timeout: options.publishTimeout,
    most: options.limits.pendingPublishes,
  })
  const presence = new Presence({ client, prefix, ttl: options.presenceTtl })

  const { sockets, _preConnectSockets: arriving } = io.sockets as unknown as Sockets
  const userOf = (id: string): string | undefined => (sockets.get(id) ?? arriving?.get(id))?.data.user?.sub

  // Socket.IO's own events: they come for sockets that the server lets in and for those that are gone, too.
  const { adapter } = io.sockets
  adapter.on('create-room', (room: string) => {
    const rule = ruleOf(room)
    if (rule && rule.history > 0) rooms.follow(room, rule)
  })
  adapter.on('join-room', (room: string, id: string) => {
    if (ruleOf(room)?.presence) presence.enter(room, id, userOf(id))
  })
  adapter.on('leave-room', (room: string, id: string) => {
    if (ruleOf(room)?.presence) presence.leave(room, id)
  })

  return {
    rooms,
    publisher,
    presence,
    get standing() {
      return subscriber.standing && client.status === 'ready'
    },
    async close() {
      publisher.close()
      rooms.close()
      subscriber.close()
      await presence.close()
    },
  }
}
