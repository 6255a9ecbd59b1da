import { type JoinReply, type JoinRequest, JOIN, LEAVE, MAX_JOINS, MAX_ROOM_LENGTH } from './protocol.ts'
import type { RawSocket } from './sessions.ts'

export interface RoomsOptions {
  /** Most rooms that one client may join. */
  limit: number
  authorize: (room: string, socket: RawSocket) => boolean | Promise<boolean>
  /** Joins after authorization, unless it is not wanted any more by then; rejects where that can't be done now. */
  join: (socket: RawSocket, request: JoinRequest, isWanted: () => boolean) => Promise<JoinReply>
  leave: (socket: RawSocket, room: string) => void
  /** Whether a socket with this id is in this process. */
  isSocketId: (room: string) => boolean
  log: { error(details: object, message: string): void }
  now?: () => number
}

/** Lets a client join and leave rooms by itself, as far as it may. */
export function serveJoins(socket: RawSocket, options: RoomsOptions): void {
  const { limit, authorize, log, now = () => performance.now() } = options
  /** Joined, or about to be: from the first question until the room is left or denied. */
  const rooms = new Map<string, { asked: number }>()

  let allowance = limit * 2
  let allowedAt = now()

  /** Every join costs authorization and Redis, and a hundred fit into one message. */
  function isAffordable(): boolean {
    const at = now()
    allowance = Math.min(limit * 2, allowance + ((at - allowedAt) / 1_000) * (limit / 5))
    allowedAt = at
    if (allowance < 1) return false
    allowance--
    return true
  }

  async function joinOne(request: unknown): Promise<JoinReply> {
    if (!isJoinRequest(request)) return { ok: false, code: 'INVALID' }
    const { room } = request
    // A socket's own id is a room too: whoever could join it would read what is sent to that socket alone.
    if (looksLikeSocketId(room) || options.isSocketId(room)) return { ok: false, code: 'INVALID' }
    if (!rooms.has(room) && rooms.size >= limit) return { ok: false, code: 'LIMIT' }
    if (!isAffordable()) return { ok: false, code: 'UNAVAILABLE' }
    const place = rooms.get(room) ?? { asked: 0 }
    rooms.set(room, place)
    place.asked++
    const isWanted = (): boolean => socket.connected && rooms.get(room) === place
    const reply = await attempt(request, isWanted)
    place.asked--
    if (isWanted() && place.asked === 0 && !socket.rooms.has(room)) rooms.delete(room)
    return reply
  }

  async function attempt(request: JoinRequest, isWanted: () => boolean): Promise<JoinReply> {
    const { room } = request
    try {
      if ((await authorize(room, socket)) !== true) {
        // It may have been allowed before.
        if (isWanted()) leave(room)
        return { ok: false, code: 'DENIED' }
      }
    } catch (error) {
      log.error({ err: error, room }, 'authorizeRoom failed')
      return { ok: false, code: 'UNAVAILABLE' }
    }
    // Left, denied or gone, while that took its time.
    if (!isWanted()) return { ok: false, code: 'UNAVAILABLE' }
    try {
      return await options.join(socket, request, isWanted)
    } catch {
      return { ok: false, code: 'UNAVAILABLE' }
    }
  }

  /** What was asked before and has no answer yet is not wanted any more. */
  function leave(room: string): void {
    rooms.delete(room)
    options.leave(socket, room)
  }

  socket.on(JOIN, (requests: unknown, reply: unknown) => {
    if (typeof reply !== 'function' || !Array.isArray(requests)) return
    void Promise.all(requests.slice(0, MAX_JOINS).map(joinOne)).then((replies) => reply(replies))
  })
  socket.on(LEAVE, (names: unknown, reply: unknown) => {
    if (!Array.isArray(names)) return
    for (const room of names.slice(0, MAX_JOINS)) {
      if (rooms.has(room)) leave(room)
    }
    if (typeof reply === 'function') reply()
  })
}

/** Socket.IO's ids: 15 random bytes in base64url. */
export function looksLikeSocketId(room: string): boolean {
  return /^[\w-]{20}$/.test(room)
}

function isJoinRequest(value: unknown): value is JoinRequest {
  if (typeof value !== 'object' || value === null) return false
  const { room, epoch, seq } = value as Partial<JoinRequest>
  if (typeof room !== 'string' || room === '' || room.length > MAX_ROOM_LENGTH) return false
  if (epoch === undefined && seq === undefined) return true
  return typeof epoch === 'string' && epoch.length <= 64 && Number.isSafeInteger(seq) && (seq as number) >= 0
}
