import type { RawRequest } from './request.ts'

export interface RequestDrains {
  /** Reads and drops what the client still sends, for a while, then closes the connection. */
  drain(raw: RawRequest): void
  /** To be told of each response that was sent. */
  answered(raw: RawRequest): void
}

/** How long an answer may take before the connection is closed without it, as a multiple of the drain time. */
const WITHOUT_ANSWER = 10

/**
 * What to do with the rest of a body that was refused. Closing at once would reset the connection, and a client
 * that writes before it reads would see EPIPE and not the answer; reading on for ever would be a gift to an attacker. So it is
 * read and dropped for at most `ms`, and the connection closed when the answer is out.
 */
export function createRequestDrains(ms: number): RequestDrains {
  const open = new WeakMap<RawRequest, { answered: boolean; late: boolean; close: () => void }>()
  return {
    drain(raw) {
      if (raw.readableEnded || raw.destroyed || open.has(raw)) return
      raw.unpipe()
      raw.resume()
      raw.on('error', () => {})
      let timer: NodeJS.Timeout
      const forget = (): void => {
        clearTimeout(timer)
        open.delete(raw)
        raw.off('end', forget)
        raw.off('close', forget)
      }
      const close = (): void => {
        forget()
        // HTTP/2 carries other requests on the same connection.
        if ('stream' in raw) raw.stream.close()
        else raw.socket?.destroySoon?.()
      }
      const state = { answered: false, late: false, close }
      open.set(raw, state)
      timer = setTimeout(() => {
        state.late = true
        if (state.answered) close()
        else timer = setTimeout(close, ms * WITHOUT_ANSWER)
      }, ms)
      raw.once('end', forget)
      raw.once('close', forget)
    },
    answered(raw) {
      const state = open.get(raw)
      if (!state) return
      state.answered = true
      if (state.late) state.close()
    },
  }
}
