import { withDeadline } from '@fastify-scale/kit'
import { fillChannel, resyncChannel } from './channels.ts'
import { UnavailableError } from './errors.ts'
import { FollowedRoom } from './gap.ts'
import { type HistoryStore, type Known, type Reading, parseLive } from './history-store.ts'
import type { RoomRule } from './room-options.ts'
import { decodePayload, positionOf } from './message.ts'
import { type JoinReply, type Position, PROTOCOL_VERSION, RESYNC } from './protocol.ts'
import { resume } from './resume.ts'
import type { RawSocket } from './sessions.ts'
import type { Subscriber } from './subscriber.ts'

export interface HistoryRoomsOptions {
  store: HistoryStore
  /** Emits to the room's sockets in this process. */
  emit: (room: string, event: string, ...args: unknown[]) => void
  /** How many of the room's sockets are in this process. */
  members: (room: string) => number
  log: { error(details: object, message: string): void }
  /** How often a quiet room is checked for what did not arrive, in ms. */
  checkInterval: number
}

interface Followed {
  name: string
  room: FollowedRoom
  /** Reads the log: what follows a number (-1: only where the room is). */
  read: (after: number, known: Known | undefined) => Promise<Reading>
  /** Joins under way. */
  holds: number
  /** Had no socket at the last check. */
  idle: boolean
  /** Settles when the room was first read; never rejects. */
  ready: Promise<void>
  setReady: () => void
}

/** How long a join waits for Redis, in ms. */
const JOIN_MS = 5_000
/** Rooms read at the same time when a connection is back. */
const PARALLEL = 50
/** The rooms with history that this process has sockets in. */
export class HistoryRooms {
  readonly #options: HistoryRoomsOptions
  readonly #rooms = new Map<string, Followed>()
  readonly #channels = new Map<string, Followed>()
  readonly #timer: NodeJS.Timeout
  #subscriber: Subscriber | undefined
  /** Quiet rooms are being asked about. */
  #asking = false

  constructor(options: HistoryRoomsOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.#check(), options.checkInterval)
    this.#timer.unref()
  }

  get size(): number {
    return this.#rooms.size
  }

  /** Takes the connection on which messages come; `onSubscribed` is to be called whenever its subscriptions stand. */
  listen(subscriber: Subscriber): void {
    this.#subscriber = subscriber
    const event = this.#options.store.sharded ? 'smessage' : 'message'
    subscriber.on(event, ((channel: string, message: string) => {
      const live = parseLive(message)
      if (live) this.#channels.get(channel)?.room.onMessage(live.epoch, live.entry)
    }) as never)
  }

  /** What was published while no subscription stood is read from the logs. */
  async onSubscribed(): Promise<void> {
    await this.#fillAll([...this.#rooms.values()])
  }

  known(room: string): Known | undefined {
    return this.#rooms.get(room)?.room.known
  }

  /** Follows a room from now on, as long as it has sockets here. */
  follow(name: string, rule: RoomRule): void {
    this.#follow(name, rule)
  }

  /**
   * Lets a socket join: first what it missed since its position, then, without a hole or a repetition, what is new.
   * Rejects where that is not possible within 5 s for want of Redis, or not wanted any more when it is.
   */
  async join(
    socket: RawSocket,
    name: string,
    rule: RoomRule,
    position: Known | undefined,
    isWanted: () => boolean = () => socket.connected,
  ): Promise<JoinReply> {
    const followed = this.#follow(name, rule)
    followed.holds++
    try {
      await withDeadline(followed.ready, JOIN_MS, `reading room '${name}'`)
      // It has found a hole: begins anew from its position.
      if (position && socket.rooms.has(name)) await socket.leave(name)
      const complete =
        position === undefined ||
        (await resume({ socket, name, room: followed.room, read: followed.read, isWanted }, position))
      if (!isWanted()) throw new UnavailableError('the socket has left, or is gone')
      // One that has resumed is in already.
      if (position === undefined || !complete) void socket.join(name)
      // In the same turn: what is delivered from here on has a higher number.
      const { epoch, seq } = followed.room.known as Known
      return complete ? { ok: true, epoch, seq } : { ok: true, epoch, seq, resync: true }
    } finally {
      followed.holds--
    }
  }

  close(): void {
    clearInterval(this.#timer)
    for (const { room, setReady } of this.#rooms.values()) {
      room.close()
      setReady()
    }
    this.#rooms.clear()
    this.#channels.clear()
  }

  #follow(name: string, rule: RoomRule): Followed {
    const existing = this.#rooms.get(name)
    if (existing) {
      existing.idle = false
      return existing
    }
    const { store, emit, members } = this.#options
    let setReady = (): void => undefined
    const ready = new Promise<void>((resolve) => (setReady = resolve))
    const read: Followed['read'] = (after, known) => store.read(name, rule, after, known)
    const room = new FollowedRoom({
      read,
      deliver: (epoch, { seq, payload }) => {
        const message = decodePayload(payload)
        if (message) emit(name, message.event, message.data, positionOf(name, epoch, seq, message.traceparent))
      },
      resync: (epoch, seq, reason) => {
        resyncChannel.publish(() => ({ room: name, reason, sockets: members(name) }))
        emit(name, RESYNC, { $rt: PROTOCOL_VERSION, room: name, epoch, seq } satisfies Position)
      },
      filled: (messages) => fillChannel.publish(() => ({ room: name, messages })),
    })
    const followed: Followed = { name, room, read, holds: 0, idle: false, ready, setReady }
    this.#rooms.set(name, followed)
    this.#channels.set(store.channel(name), followed)
    void this.#start(followed)
    return followed
  }

  async #start(followed: Followed): Promise<void> {
    const { store } = this.#options
    const kind = store.sharded ? 'ssubscribe' : 'subscribe'
    // Where the connection is away, onSubscribed does the rest.
    if (await this.#subscriber?.add(kind, [store.channel(followed.name)])) await this.#fillAll([followed])
  }

  #unfollow(followed: Followed): void {
    const { store } = this.#options
    const channel = store.channel(followed.name)
    this.#rooms.delete(followed.name)
    this.#channels.delete(channel)
    this.#subscriber?.remove(store.sharded ? 'ssubscribe' : 'subscribe', [channel])
    followed.room.close()
    followed.setReady()
  }

  /**
   * Lets go of rooms without sockets (not at once: on a reload they are back in a moment), and asks about the quiet ones:
   * a subscription can be lost without a sign, as when a cluster moves a slot.
   */
  #check(): void {
    const quiet: Followed[] = []
    for (const followed of this.#rooms.values()) {
      const { room, holds } = followed
      const unused = holds === 0 && this.#options.members(followed.name) === 0
      if (unused && followed.idle) {
        this.#unfollow(followed)
        continue
      }
      followed.idle = unused
      if (!room.active) quiet.push(followed)
      room.active = false
    }
    // One at a time: while Redis is away it does not end, and more of them would only add up.
    if (this.#asking) return
    this.#asking = true
    void this.#fillAll(quiet).finally(() => (this.#asking = false))
  }

  async #fillAll(all: Followed[]): Promise<void> {
    const worker = async (): Promise<void> => {
      for (let followed = all.pop(); followed; followed = all.pop()) {
        await followed.room.fill()
        followed.setReady()
      }
    }
    await Promise.all(Array.from({ length: Math.min(PARALLEL, all.length) }, worker))
  }
}
