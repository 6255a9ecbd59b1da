import {
  type JoinRefusal,
  type JoinReply,
  type JoinRequest,
  type JoinedPosition,
  type Position,
  JOIN,
  JOINED,
  LEAVE,
  MAX_JOINS,
  RESYNC,
  isPosition,
} from '../protocol.ts'
import { joinError } from './errors.ts'
import type { RawClientSocket } from './raw-socket.ts'
import { Tracker } from './tracker.ts'
import type { Listen } from './upkeep.ts'

export interface ClientRoomsOptions {
  socket: RawClientSocket
  listen: Listen
  onResync: (room: string) => void
  /** Messages of plain rooms may have been missed; what comes from now on is not. */
  onGap: () => void
  /** A room that was joined may not be any more. */
  onDenied: (room: string, code: JoinRefusal) => void
  random?: () => number
}

interface Room {
  joined: boolean
  /** It was, over an earlier connection. */
  before: boolean
  waiting: { resolve: () => void; reject: (error: Error) => void }[]
}

/** How long one join may take, in ms. */
const JOIN_MS = 10_000
const RETRY_MS = 500
const RETRY_MAX_MS = 10_000

/** Keeps the rooms that a client is in over lost connections, and its place in those with history. */
export class ClientRooms {
  readonly #options: ClientRoomsOptions
  readonly #socket: RawClientSocket
  readonly #tracker = new Tracker()
  readonly #rooms = new Map<string, Room>()
  /** Left, each until the server has said so: what comes before was on its way. */
  readonly #left = new Map<string, symbol>()
  /** To be asked for in the next batch. */
  readonly #pending = new Set<string>()
  #traceparent: string | undefined
  #scheduled = false
  #connection = 0
  /** To be told of with the first answers of this connection. */
  #gapDue = false
  #failures = 0
  #retry: ReturnType<typeof setTimeout> | undefined

  constructor(options: ClientRoomsOptions) {
    this.#options = options
    this.#socket = options.socket
    const onevent = this.#socket.onevent.bind(this.#socket)
    this.#socket.onevent = (packet) => {
      const position = packet.data?.at(-1)
      if (!isPosition(position) || packet.data?.[0] === RESYNC) return onevent(packet)
      if (!this.#accepts(position)) return
      this.#traceparent = typeof position.traceparent === 'string' ? position.traceparent : undefined
      try {
        onevent({ ...packet, data: packet.data?.slice(0, -1) })
      } finally {
        this.#traceparent = undefined
      }
    }
    options.listen(RESYNC, (position: Position) => {
      const { room } = position
      if (this.#left.has(room) || !(this.#rooms.has(room) || this.#tracker.position(room))) return
      this.#resync(position)
    })
    options.listen(JOINED, (position: JoinedPosition) => {
      const { room, epoch, seq } = position
      // Where the client has joined as well, the answer to that counts.
      if (this.#left.has(room) || this.#rooms.has(room)) return
      const had = this.#tracker.position(room)
      if (!had) this.#tracker.set(room, epoch, seq)
      // A message that is newer may have overtaken it.
      else if (had.epoch !== epoch || had.seq < seq) this.#resync(position)
    })
    options.listen('connect', () => {
      this.#connection++
      this.#failures = 0
      this.#left.clear()
      for (const [name, room] of this.#rooms) {
        room.before ||= room.joined
        room.joined = false
        this.#ask(name)
      }
    })
    options.listen('disconnect', () => clearTimeout(this.#retry))
  }

  join(name: string): Promise<void> {
    let room = this.#rooms.get(name)
    if (!room) this.#rooms.set(name, (room = { joined: false, before: false, waiting: [] }))
    if (room.joined && this.#socket.connected) return Promise.resolve()
    const { waiting } = room
    return new Promise((resolve, reject) => {
      waiting.push({ resolve, reject })
      this.#ask(name)
    })
  }

  leave(name: string): void {
    const room = this.#rooms.get(name)
    if (!room) return
    this.#rooms.delete(name)
    this.#pending.delete(name)
    this.#tracker.forget(name)
    for (const { resolve } of room.waiting) resolve()
    if (!this.#socket.connected) return
    const turn = Symbol(name)
    this.#left.set(name, turn)
    this.#socket.emit(LEAVE, [name], () => {
      if (this.#left.get(name) === turn) this.#left.delete(name)
    })
  }

  names(): string[] {
    return [...this.#rooms.keys()]
  }

  position(name: string): { epoch: string; seq: number } | undefined {
    return this.#tracker.position(name)
  }

  /** The client is back. In its rooms it is when they have answered: what it loads before could be older than what it then gets. */
  tellGap(): void {
    if (this.#rooms.size === 0) this.#options.onGap()
    else this.#gapDue = true
  }

  /** Of the message whose listeners run just now. */
  get traceparent(): string | undefined {
    return this.#traceparent
  }

  #accepts(position: Position): boolean {
    if (this.#left.has(position.room)) return false
    switch (this.#tracker.accept(position)) {
      case 'drop':
        return false
      case 'gap':
        if (this.#rooms.has(position.room)) {
          this.#ask(position.room)
          return false
        }
        // The server made this socket join: there is nothing that it could ask for.
        this.#resync(position)
        return true
      case 'resync':
        this.#options.onResync(position.room)
        return true
      case 'deliver':
        return true
    }
  }

  /** What was before this position can't be had any more. */
  #resync({ room, epoch, seq }: JoinedPosition): void {
    this.#tracker.set(room, epoch, seq)
    this.#options.onResync(room)
  }

  /** All that are asked for in one turn go together. */
  #ask(name: string): void {
    this.#pending.add(name)
    if (this.#scheduled || !this.#socket.connected) return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      if (!this.#socket.connected) return
      const names = [...this.#pending]
      this.#pending.clear()
      void this.#joinAll(names)
    })
  }

  async #joinAll(names: string[]): Promise<void> {
    const connection = this.#connection
    const batches: Promise<boolean>[] = []
    for (let i = 0; i < names.length; i += MAX_JOINS) batches.push(this.#joinBatch(names.slice(i, i + MAX_JOINS)))
    const late = (await Promise.all(batches)).includes(true)
    if (connection !== this.#connection || !this.#socket.connected || !(late || this.#gapDue)) return
    this.#gapDue = false
    this.#options.onGap()
  }

  /** True where the client is back in a plain room. */
  async #joinBatch(names: string[]): Promise<boolean> {
    const connection = this.#connection
    const rooms = names.map((name) => this.#rooms.get(name))
    const requests: JoinRequest[] = names.map((room) => ({ room, ...this.#tracker.position(room) }))
    let replies: JoinReply[]
    try {
      replies = (await this.#socket.timeout(JOIN_MS).emitWithAck(JOIN, requests)) as JoinReply[]
    } catch {
      replies = []
    }
    if (connection !== this.#connection || !this.#socket.connected) return false
    let failed = false
    let back = false
    for (const [i, name] of names.entries()) {
      const reply = replies[i] ?? { ok: false, code: 'UNAVAILABLE' }
      const room = rooms[i]
      // Left since, and perhaps joined anew: another answer counts.
      if (!room || room !== this.#rooms.get(name)) continue
      if (reply.ok) {
        if ('epoch' in reply) this.#apply(name, reply)
        else back ||= room.before
        room.joined = true
        room.before = false
        for (const { resolve } of room.waiting.splice(0)) resolve()
      } else if (reply.code === 'UNAVAILABLE') {
        failed = true
        this.#pending.add(name)
      } else {
        this.#rooms.delete(name)
        this.#tracker.forget(name)
        const { waiting } = room
        for (const { reject } of waiting) reject(joinError(name, reply.code))
        if (room.joined || room.before || waiting.length === 0) this.#options.onDenied(name, reply.code)
      }
    }
    if (failed) this.#askAgain()
    else this.#failures = 0
    return back
  }

  #apply(room: string, { epoch, seq, resync }: { epoch: string; seq: number; resync?: boolean }): void {
    const had = this.#tracker.position(room)
    if (resync) {
      this.#resync({ room, epoch, seq })
    } else if (had !== undefined && had.epoch !== epoch) {
      // Told by an event already, or an answer to a position that is not ours any more.
      return
    } else {
      this.#tracker.advance(room, epoch, seq)
    }
  }

  #askAgain(): void {
    const { random = Math.random } = this.#options
    const delay = Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** this.#failures++) * (0.5 + random() / 2)
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => {
      for (const name of this.#pending) this.#ask(name)
    }, delay)
  }
}
