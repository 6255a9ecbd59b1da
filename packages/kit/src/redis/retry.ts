import { pause } from '../timing.ts'

const RETRY_MS = 20

/** True where Redis itself said no, and would again. A server that loads, fails over or is a replica for now does not. */
export function isRefusal(error: unknown): boolean {
  return (
    error instanceof Error &&
    error.name === 'ReplyError' &&
    !/^(LOADING|READONLY|CLUSTERDOWN|TRYAGAIN|MASTERDOWN)/.test(error.message)
  )
}

/**
 * Calls `attempt` until it succeeds, at most for `timeout` ms: a connection that breaks is soon there again. For what may
 * be done twice, or knows when it was done already. Rejects with the last error.
 *
 * @param attempt gets the time that is left, in ms
 * @param isFinal tells the errors that no further attempt would mend. Default `isRefusal`.
 */
export async function retryWithin<T>(
  timeout: number,
  attempt: (left: number) => Promise<T>,
  isFinal: (error: unknown) => boolean = isRefusal,
): Promise<T> {
  const until = performance.now() + timeout
  for (;;) {
    try {
      return await attempt(Math.max(1, until - performance.now()))
    } catch (error) {
      if (isFinal(error) || until - performance.now() <= RETRY_MS) throw error
      await pause(RETRY_MS)
    }
  }
}
