import { show } from '@fastify-scale/kit'
import { PublishInvalidError } from './errors.ts'

const RESERVED = new Set(['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener'])
/** Longest name of a room, in UTF-16 units. */
const LONGEST_ROOM = 1_000

/** @throws SCALE_REALTIME_PUBLISH_INVALID */
export function checkTarget(room: unknown, event: unknown): void {
  if (typeof room !== 'string' || room === '' || room.length > LONGEST_ROOM)
    throw new PublishInvalidError(`a room's name must be text of 1 to ${LONGEST_ROOM} characters, but is ${show(room)}`)
  if (typeof event !== 'string' || event === '' || RESERVED.has(event) || event.startsWith('realtime:'))
    throw new PublishInvalidError(`${show(event)} can't be the name of an event`)
}

/**
 * The form in which a message is kept: the JSON of `[event, data]`.
 *
 * @throws SCALE_REALTIME_PUBLISH_INVALID data that JSON can't hold: binary, circular, BigInt
 */
export function encodePayload(event: string, data: unknown): string {
  if (hasBinary(data, 0))
    throw new PublishInvalidError(
      `event '${event}' has binary data, which a room's history can't keep: send its URL, or use a plain room`,
    )
  try {
    return JSON.stringify([event, data])
  } catch (error) {
    throw new PublishInvalidError(`the data of event '${event}' can't be sent: ${(error as Error).message}`)
  }
}

const DEEPEST = 100

function hasBinary(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null || depth > DEEPEST) return false
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer || value instanceof Blob) return true
  for (const one of Array.isArray(value) ? value : Object.values(value)) if (hasBinary(one, depth + 1)) return true
  return false
}
