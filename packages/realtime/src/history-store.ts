import { randomBytes } from 'node:crypto'
import { type RedisClient, type RedisClock, createRedisClock } from '@fastify-scale/kit'
import { roomKey } from './keys.ts'
import { publishScript } from './lua/publish.lua.ts'
import { readScript } from './lua/read.lua.ts'
import type { RoomRule } from './room-options.ts'

/** A message of a history room: its number and the JSON of `[event, data]`. */
export interface Entry {
  seq: number
  payload: string
}

/** What a room's log has. */
export interface Reading {
  epoch: string
  /** The last number given. */
  head: number
  entries: Entry[]
}

/** A message to be stored. */
export interface Message {
  payload: string
  /** Idempotency key. */
  id: string
  /** How long the key is kept, in ms. */
  keep: number
  /** ms that storing it still makes sense. */
  left: number
}

/** What became of it: null where its time was over. */
export type Stored = { epoch: string; seq: number; duplicate: boolean } | null

/** Where a process is in a room. */
export interface Known {
  epoch: string
  seq: number
}

/** The least time that a room's numbering outlives its last use, in ms. */
const META_TTL = 24 * 3_600_000
/** Messages in one reading. */
export const PAGE = 200

export interface HistoryStoreOptions {
  /** A connection of the command kind. */
  client: RedisClient
  /** True on Redis Cluster: messages go by SPUBLISH. */
  sharded: boolean
  /** Before every key. */
  prefix: string
  /** Makes the name of a new numbering. Default: 96 random bits. */
  newEpoch?: () => string
}

/** The rooms' logs in Redis. */
export class HistoryStore {
  readonly sharded: boolean
  readonly #client: RedisClient
  readonly #clock: RedisClock
  readonly #prefix: string
  readonly #newEpoch: () => string

  constructor(options: HistoryStoreOptions) {
    this.sharded = options.sharded
    this.#client = options.client
    this.#clock = createRedisClock(options.client)
    this.#prefix = options.prefix
    this.#newEpoch = options.newEpoch ?? (() => randomBytes(12).toString('base64url'))
  }

  /** The channel on which a room's messages come. */
  channel(room: string): string {
    return this.#key(room, 'live')
  }

  /**
   * Reads what follows `after`; -1: only where the room is. With `known`, a numbering that has gone back is begun anew.
   */
  async read(room: string, rule: RoomRule, after: number, known: Known | undefined): Promise<Reading> {
    const [epoch, head, ...flat] = (await readScript(
      this.#client,
      [this.#key(room, 'meta'), this.#key(room, 'log')],
      [this.#newEpoch(), known?.epoch ?? '', known?.seq ?? 0, after, PAGE, metaTtl(rule)],
    )) as [string, number, ...(string | number)[]]
    const entries: Entry[] = []
    for (let i = 0; i + 1 < flat.length; i += 2) entries.push({ seq: Number(flat[i]), payload: String(flat[i + 1]) })
    return { epoch, head, entries }
  }

  /** Stores messages in their order. What was not confirmed may be sent again with the same ids: it is stored once. */
  async publish(
    room: string,
    rule: RoomRule,
    messages: readonly Message[],
    known: Known | undefined,
  ): Promise<Stored[]> {
    const args: (string | number)[] = []
    for (const { left, keep, payload } of messages) args.push(await this.#clock.deadline(left), keep, payload)
    const [epoch, ...flat] = (await publishScript(
      this.#client,
      [this.#key(room, 'meta'), this.#key(room, 'log'), ...messages.map(({ id }) => this.#key(room, `id:${id}`))],
      [
        this.#newEpoch(),
        known?.epoch ?? '',
        known?.seq ?? 0,
        rule.history,
        rule.ttl,
        metaTtl(rule),
        this.channel(room),
        this.sharded ? 'SPUBLISH' : 'PUBLISH',
        ...args,
      ],
    )) as [string, ...number[]]
    return messages.map((_, i) => {
      const [seq = -1, duplicate] = flat.slice(i * 2, i * 2 + 2)
      return seq < 0 ? null : { epoch, seq, duplicate: duplicate === 1 }
    })
  }

  #key(room: string, what: string): string {
    return roomKey(this.#prefix, room, what)
  }
}

/** Splits what came on a room's channel: `epoch seq payload`. */
export function parseLive(message: string): { epoch: string; entry: Entry } | undefined {
  const first = message.indexOf(' ')
  const second = message.indexOf(' ', first + 1)
  const seq = Number(message.slice(first + 1, second))
  if (first < 1 || second < 0 || !Number.isSafeInteger(seq)) return undefined
  return { epoch: message.slice(0, first), entry: { seq, payload: message.slice(second + 1) } }
}

function metaTtl(rule: RoomRule): number {
  return Math.max(META_TTL, rule.ttl * 10)
}
