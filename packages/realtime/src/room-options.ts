import { type Duration, checkKnown, parseDuration, parseInteger, show } from '@fastify-scale/kit'
import { fail, flag } from './check.ts'
import type { RealtimeSocket, RealtimeUser } from './types.ts'

/** Says whether a client may join a room. */
export type AuthorizeRoom = (context: {
  room: string
  /** Absent for an anonymous socket. */
  user: RealtimeUser | undefined
  socket: RealtimeSocket
}) => boolean | Promise<boolean>

export interface RoomOptions {
  /** How many messages are kept, so that nobody misses one. Default 0: a plain room. */
  history?: number
  /** How long they are kept after the last one. Default `'2m'`. */
  ttl?: Duration
  /** Whether `presence()` is kept. Default true. */
  presence?: boolean
}

/** A pattern of `rooms`, ready for use. */
export interface RoomRule {
  matches(room: string): boolean
  /** 0: no history. */
  history: number
  /** ms */
  ttl: number
  presence: boolean
}

/** Fills in defaults and checks. @throws SCALE_REALTIME_OPTION */
export function resolveRooms(rooms: Record<string, RoomOptions>): RoomRule[] {
  return Object.entries(rooms).map(([pattern, rule]) => {
    const name = `rooms['${pattern}']`
    if (pattern === '') throw fail("option 'rooms' has an empty name")
    if (typeof rule !== 'object' || rule === null)
      throw fail(`option '${name}' must be an object, but is ${show(rule)}`)
    checkKnown(rule, ['history', 'ttl', 'presence'], `option '${name}'`, fail)
    return {
      matches: roomMatcher(pattern),
      history: parseInteger(rule.history ?? 0, { name: `${name}.history`, min: 0, max: 1_000_000, fail }),
      ttl: parseDuration(rule.ttl ?? '2m', { name: `${name}.ttl`, min: 1_000, fail }),
      presence: flag(`${name}.presence`, rule.presence ?? true),
    }
  })
}

function roomMatcher(pattern: string): (room: string) => boolean {
  const parts = pattern.split('*')
  if (parts.length === 1) return (room) => room === pattern
  const [prefix = '', suffix] = parts
  if (parts.length === 2 && suffix === '') return (room) => room.startsWith(prefix)
  const source = parts.map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('.*')
  const expression = new RegExp(`^${source}$`, 's')
  return (room) => expression.test(room)
}
