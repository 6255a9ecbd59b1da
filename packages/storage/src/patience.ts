import { ClientTimeoutError } from './errors.ts'

export interface Patience {
  /**
   * Waits for something that the client must send. Rejects with SCALE_STORAGE_CLIENT_TIMEOUT when the client has used
   * up its time, and with the signal's reason when that aborts.
   */
  wait<T>(promise: Promise<T>): Promise<T>
  /** Tells that the client sent so many bytes, which buys it time. */
  sent(bytes: number): void
}

export interface PatienceOptions {
  /** How long the client may be silent, in ms. */
  idleTimeout: number
  /** Bytes per second that count as not being silent. 0: any byte does. */
  minRate: number
  /** Aborts all waits, with its reason. */
  signal: AbortSignal
  now?: () => number
}

/**
 * Counts only the time spent waiting for the client: while S3 is slow nothing runs against the client. Waiting adds to a
 * debt and bytes pay it back at `minRate`, so a client that stalls is told after `idleTimeout`, and one that
 * drips a byte now and then to hold a slot is told just as well.
 */
export function createPatience(options: PatienceOptions): Patience {
  const { idleTimeout, minRate, signal, now = () => performance.now() } = options
  let debt = 0
  return {
    sent(bytes) {
      debt = minRate === 0 ? 0 : Math.max(0, debt - (bytes / minRate) * 1_000)
    },
    wait(promise) {
      return new Promise((resolve, reject) => {
        const start = now()
        const settle = (act: () => void): void => {
          clearTimeout(timer)
          signal.removeEventListener('abort', onAbort)
          debt += now() - start
          act()
        }
        const onAbort = (): void => settle(() => reject(signal.reason as Error))
        const timer = setTimeout(
          () => settle(() => reject(new ClientTimeoutError('the upload stalled: too little arrived in time'))),
          Math.max(0, idleTimeout - debt),
        )
        promise.then(
          (value) => settle(() => resolve(value)),
          (error: unknown) => settle(() => reject(error as Error)),
        )
        if (signal.aborted) onAbort()
        else signal.addEventListener('abort', onAbort, { once: true })
      })
    },
  }
}
