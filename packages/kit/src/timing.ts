import { DeadlineError } from './errors.ts'

/**
 * The delay before retry number `attempt` (from 1): exponential from `base`, capped, with full jitter in the upper half,
 * so that many processes that lost the same server do not come back in step.
 */
export function backoff(attempt: number, base = 50, cap = 500, random: () => number = Math.random): number {
  const ceiling = Math.min(cap, base * 2 ** Math.min(attempt - 1, 30))
  return Math.round(ceiling / 2 + (ceiling / 2) * random())
}

/** The longest time that a timer of Node.js holds, in ms: with a longer one it fires at once. */
const LONGEST_MS = 2 ** 31 - 1

/**
 * Settles like `promise`, or rejects with SCALE_KIT_DEADLINE (503) after `ms` milliseconds, at most 24.8 days.
 * The work itself is not undone: what timed out is unknown, not failed.
 */
export function withDeadline<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const expire = (): void => reject(new DeadlineError(`${what} took longer than ${ms} ms`))
    const timer = setTimeout(expire, Math.min(ms, LONGEST_MS))
    promise.then(
      (value) => {
        clearTimeout(timer)
        resolve(value)
      },
      (error: unknown) => {
        clearTimeout(timer)
        reject(error)
      },
    )
  })
}

/** Resolves after `ms` milliseconds, at most 24.8 days, or at once when the signal aborts. It never rejects and does not keep the process alive. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve()
    const done = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, Math.min(ms, LONGEST_MS))
    timer.unref()
    signal?.addEventListener('abort', done, { once: true })
  })
}
