import { pause } from '@fastify-scale/kit'
import { UnavailableError } from './errors.ts'
import type { FollowedRoom } from './gap.ts'
import type { Entry, Known, Reading } from './history-store.ts'
import { decodePayload, positionOf } from './message.ts'
import type { RawSocket } from './sessions.ts'

export interface Resuming {
  socket: RawSocket
  name: string
  /** The room as this process sees it. */
  room: FollowedRoom
  /** Reads what follows `after` from the log (-1: only where the room is). */
  read: (after: number, known: Known) => Promise<Reading>
  /** False when the socket has left or is gone. */
  isWanted: () => boolean
}

/** What is sent to one socket before it has to read: messages and bytes. */
const WINDOW = 100
const WINDOW_BYTES = 256 * 1_024
/** How long a socket may take to read that, in ms. */
const WINDOW_MS = 20_000

/**
 * Lets a socket join that is back: sends what follows its position first. False, and not joined, where something of it is
 * lost. Rejects where the log can't be read, or the socket does not read.
 */
export async function resume(resuming: Resuming, { epoch, seq }: Known): Promise<boolean> {
  const { socket, name, room, read, isWanted } = resuming
  let at = seq
  /** The log has what the socket has had, and this process not yet: it will come, and the socket will drop it. */
  let ahead = false
  while (isWanted()) {
    const known = room.known
    if (known?.epoch !== epoch) return false
    const rest = ahead && at > known.seq ? [] : room.since(epoch, at)
    if (rest) {
      for (const entry of rest) send(socket, name, epoch, entry)
      // In the same turn as the last look at what was delivered: more may be by the next.
      void socket.join(name)
      return true
    }
    if (at > known.seq) {
      const { epoch: now, head } = await read(-1, known)
      if (now !== epoch || head < at) return false
      ahead = true
      continue
    }
    const reading = await read(at, known)
    if (reading.epoch !== epoch) {
      await room.fill()
      continue
    }
    if (reading.entries[0]?.seq !== at + 1) return false
    at = await sendSome(resuming, epoch, reading.entries)
  }
  return true
}

/** Sends entries up to what this process has delivered, as fast as the socket reads them. Returns the last number. */
async function sendSome(
  { socket, name, room, isWanted }: Resuming,
  epoch: string,
  entries: readonly Entry[],
): Promise<number> {
  let [count, bytes, at] = [0, 0, (entries[0] as Entry).seq - 1]
  for (const entry of entries) {
    if (entry.seq > (room.known?.seq ?? 0) || !isWanted()) break
    send(socket, name, epoch, entry)
    at = entry.seq
    bytes += entry.payload.length
    if (++count % WINDOW !== 0 && bytes < WINDOW_BYTES) continue
    bytes = 0
    const until = performance.now() + WINDOW_MS
    while (isWanted() && socket.conn.writeBuffer.length > 0) {
      if (performance.now() > until) throw new UnavailableError('the client reads too slowly')
      await pause(5)
    }
  }
  return at
}

function send(socket: RawSocket, room: string, epoch: string, { seq, payload }: Entry): void {
  const message = decodePayload(payload)
  if (message) socket.emit(message.event, message.data, positionOf(room, epoch, seq, message.traceparent))
}
