import type { JoinRefusal } from '../protocol.ts'

/** An error of the client helper; `code` says which. It may be bundled for browsers, so it is not one of @fastify/error. */
export class RealtimeClientError extends Error {
  /** `SCALE_REALTIME_JOIN_` and the server's code. */
  readonly code: string
  constructor(code: string, message: string) {
    super(message)
    this.name = 'RealtimeClientError'
    this.code = code
  }
}

const JOIN_MESSAGES: Record<JoinRefusal, string> = {
  DENIED: 'is not allowed',
  INVALID: 'is not the name of a room that can be joined',
  LIMIT: 'is one room too many for this connection',
  UNAVAILABLE: 'could not be joined now',
}

export function joinError(room: string, code: JoinRefusal): RealtimeClientError {
  return new RealtimeClientError(`SCALE_REALTIME_JOIN_${code}`, `room '${room}' ${JOIN_MESSAGES[code]}`)
}
