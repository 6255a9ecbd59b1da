import { show } from '@fastify-scale/kit'
import { PublishInvalidError } from './errors.ts'
import { type Position, PROTOCOL_VERSION } from './protocol.ts'

const RESERVED = new Set(['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener'])
/** Longest name of a room, in UTF-16 units. */
const LONGEST_ROOM = 1_000

/** @throws SCALE_REALTIME_PUBLISH_INVALID */
export function checkTarget(room: unknown, event: unknown, id: unknown): void {
  if (typeof room !== 'string' || room === '' || room.length > LONGEST_ROOM)
    throw new PublishInvalidError(`a room's name must be text of 1 to ${LONGEST_ROOM} characters, but is ${show(room)}`)
  if (typeof event !== 'string' || event === '' || RESERVED.has(event) || event.startsWith('realtime:'))
    throw new PublishInvalidError(`${show(event)} can't be the name of an event`)
  // A key that stands for 'none' would make one message of all.
  if (id !== undefined && (typeof id !== 'string' || id === ''))
    throw new PublishInvalidError(`an idempotency key must be text, but 'id' is ${show(id)}`)
}

/**
 * The form in which a message is kept: the JSON of `[event, data]`, or `[event, data, traceparent]`.
 *
 * @throws SCALE_REALTIME_PUBLISH_INVALID data that JSON can't hold: binary, circular, BigInt
 */
export function encodePayload(event: string, data: unknown, traceparent?: string): string {
  if (hasBinary(data, 0))
    throw new PublishInvalidError(
      `event '${event}' has binary data, which a room's history can't keep: send its URL, or use a plain room`,
    )
  try {
    return JSON.stringify(traceparent === undefined ? [event, data] : [event, data, traceparent])
  } catch (error) {
    throw new PublishInvalidError(`the data of event '${event}' can't be sent: ${(error as Error).message}`)
  }
}

/** A message as it was kept; undefined where it is none of ours. */
export function decodePayload(
  payload: string,
): { event: string; data: unknown; traceparent: string | undefined } | undefined {
  try {
    const parsed: unknown = JSON.parse(payload)
    if (!Array.isArray(parsed) || typeof parsed[0] !== 'string') return undefined
    const [event, data, traceparent] = parsed as [string, unknown, unknown]
    return { event, data, traceparent: typeof traceparent === 'string' ? traceparent : undefined }
  } catch {
    return undefined
  }
}

/** What `ask` says, where that is a traceparent of version 00. Whatever a tracer does, the message is sent. */
export function askTraceparent(ask: (() => string | undefined) | undefined): string | undefined {
  try {
    const traceparent = ask?.()
    return TRACEPARENT.test(traceparent ?? '') ? traceparent : undefined
  } catch {
    return undefined
  }
}

/** W3C Trace Context, 3.2. */
const TRACEPARENT = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/

const DEEPEST = 100

function hasBinary(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null || depth > DEEPEST) return false
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer || value instanceof Blob) return true
  for (const one of Array.isArray(value) ? value : Object.values(value)) if (hasBinary(one, depth + 1)) return true
  return false
}

/** What goes with a message of a history room as its last argument. */
export function positionOf(room: string, epoch: string, seq: number, traceparent: string | undefined): Position {
  const position: Position = { $rt: PROTOCOL_VERSION, room, epoch, seq }
  if (traceparent !== undefined) position.traceparent = traceparent
  return position
}
