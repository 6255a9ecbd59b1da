import type { RedisClient } from '@fastify-scale/kit'
import { roomKey } from './keys.ts'
import { readPresenceScript, touchPresenceScript } from './lua/presence.lua.ts'

/** Somebody in a room. */
export interface PresenceMember {
  /** The user's `sub`; of an anonymous socket, its id. */
  id: string
  /** How many sockets of theirs are in the room. */
  sockets: number
}

export interface PresenceOptions {
  /** A connection of the command kind. */
  client: RedisClient
  /** Before every key. */
  prefix: string
  /** How long a member outlives the process that kept it, in ms. */
  ttl: number
}

interface Room {
  /** Member of each socket that is here. */
  here: Map<string, string>
  added: Set<string>
  removed: Set<string>
}

const PORTION = 500

/**
 * Who is in which room, over all processes: each keeps its own sockets alive in a sorted set for the room, so that those
 * of a process that died end by themselves.
 */
export class Presence {
  readonly #options: PresenceOptions
  readonly #rooms = new Map<string, Room>()
  readonly #changed = new Set<string>()
  readonly #timer: NodeJS.Timeout
  #flushing: Promise<void> | undefined

  constructor(options: PresenceOptions) {
    this.#options = options
    this.#timer = setInterval(() => void this.#refresh(), options.ttl / 3)
    this.#timer.unref()
  }

  /** @param user the user's `sub`, undefined for an anonymous socket */
  enter(room: string, socketId: string, user: string | undefined): void {
    const entry = this.#room(room)
    const member = JSON.stringify([user ?? socketId, socketId])
    entry.here.set(socketId, member)
    entry.added.add(member)
    entry.removed.delete(member)
    this.#changedRoom(room)
  }

  leave(room: string, socketId: string): void {
    const entry = this.#room(room)
    const member = entry.here.get(socketId)
    if (member === undefined) return
    entry.here.delete(socketId)
    entry.added.delete(member)
    entry.removed.add(member)
    this.#changedRoom(room)
  }

  /** Who is in a room. Rejects where Redis does not answer. */
  async list(room: string): Promise<PresenceMember[]> {
    // What this process has just changed counts in its own answer.
    await this.#flush()
    const members = (await readPresenceScript(this.#options.client, [this.#key(room)], [])) as string[]
    const counts = new Map<string, number>()
    for (const member of members) {
      const [id] = JSON.parse(member) as [id: string]
      counts.set(id, (counts.get(id) ?? 0) + 1)
    }
    return [...counts].map(([id, sockets]) => ({ id, sockets }))
  }

  /** Tells Redis what it does not know yet, and stops. Never rejects. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#flush()
  }

  #room(name: string): Room {
    let room = this.#rooms.get(name)
    if (!room) this.#rooms.set(name, (room = { here: new Map(), added: new Set(), removed: new Set() }))
    return room
  }

  #changedRoom(room: string): void {
    this.#changed.add(room)
    void this.#flush()
  }

  /** All changes of one turn go together. */
  #flush(): Promise<void> {
    if (this.#changed.size === 0) return this.#flushing ?? Promise.resolve()
    this.#flushing ??= this.#flushSoon()
    return this.#flushing
  }

  async #flushSoon(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    while (this.#changed.size > 0) {
      const names = [...this.#changed]
      this.#changed.clear()
      await Promise.all(
        names.map(async (name) => {
          const room = this.#room(name)
          const [added, removed] = [[...room.added], [...room.removed]]
          room.added.clear()
          room.removed.clear()
          if (room.here.size === 0) this.#rooms.delete(name)
          await this.#touch(name, added, removed)
        }),
      )
    }
    this.#flushing = undefined
  }

  async #refresh(): Promise<void> {
    for (const [name, { here }] of this.#rooms) {
      const ids = [...here.keys()]
      // Looked up for each portion: who leaves meanwhile is not kept.
      for (let i = 0; i < ids.length; i += PORTION)
        await this.#touch(
          name,
          ids.slice(i, i + PORTION).flatMap((id) => here.get(id) ?? []),
          [],
        )
    }
  }

  /** A failure is made good by the next refresh; what was to be removed ends by itself. */
  async #touch(room: string, keep: string[], remove: string[]): Promise<void> {
    for (let i = 0; i < Math.max(keep.length, remove.length, 1); i += PORTION) {
      const [some, others] = [keep.slice(i, i + PORTION), remove.slice(i, i + PORTION)]
      await touchPresenceScript(
        this.#options.client,
        [this.#key(room)],
        [this.#options.ttl, some.length, ...some, ...others],
      ).catch(() => undefined)
    }
  }

  #key(room: string): string {
    return roomKey(this.#options.prefix, room, 'presence')
  }
}
