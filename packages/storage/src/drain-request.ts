import type { RawRequest } from './request.ts'
import { whenAnswered } from './when-answered.ts'

/** How long an answer may take before the connection is closed without it, as a multiple of the drain time. */
const WITHOUT_ANSWER = 10

/**
 * What to do with the rest of a body that was refused: read and drop what the client still sends, for a while, then close
 * the connection. Closing at once would reset it, and a client that writes before it reads would see EPIPE and not the
 * answer; reading on for ever would be a gift to an attacker. So it is read and dropped for at most `ms`, and the
 * connection closed when the answer is out.
 */
export function createRequestDrain(ms: number): (raw: RawRequest) => void {
  const open = new WeakSet<RawRequest>()
  return function drain(raw) {
    if (raw.readableEnded || raw.destroyed || open.has(raw)) return
    open.add(raw)
    raw.unpipe()
    raw.resume()
    raw.on('error', () => {})
    let answered = false
    let late = false
    let timer: NodeJS.Timeout
    const stopWaiting = whenAnswered(raw, () => {
      answered = true
      if (late) close()
    })
    const forget = (): void => {
      clearTimeout(timer)
      stopWaiting()
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
    timer = setTimeout(() => {
      late = true
      if (answered) close()
      else timer = setTimeout(close, ms * WITHOUT_ANSWER)
    }, ms)
    raw.once('end', forget)
    raw.once('close', forget)
  }
}
