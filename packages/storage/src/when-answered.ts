import diagnostics from 'node:diagnostics_channel'
import type { RawRequest } from './request.ts'

/** Node tells the end of every response here. */
const FINISH = 'http.server.response.finish'

const waiting = new Map<unknown, () => void>()

function onFinish(message: unknown): void {
  waiting.get((message as { request: unknown }).request)?.()
}

/**
 * Calls back when the answer to a request has been handed to the system; the function returned ends that. Unlike a hook it
 * costs requests that nobody waits for nothing.
 */
export function whenAnswered(raw: RawRequest, listener: () => void): () => void {
  if ('stream' in raw) {
    const { stream } = raw
    stream.once('finish', listener)
    return () => stream.off('finish', listener)
  }
  if (waiting.size === 0) diagnostics.subscribe(FINISH, onFinish)
  waiting.set(raw, listener)
  return () => {
    if (waiting.delete(raw) && waiting.size === 0) diagnostics.unsubscribe(FINISH, onFinish)
  }
}
