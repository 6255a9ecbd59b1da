import { ClientTimeoutError } from './errors.ts'

export interface Patience {
  /**
   * Waits for something that the client must send. Rejects with SCALE_STORAGE_CLIENT_TIMEOUT when the client has used
   * up its time, and with the signal's reason when that aborts. One wait at a time.
   */
  wait<T>(promise: Promise<T>): Promise<T>
  /** Tells that the client sent so many bytes, which buys it time. */
  sent(bytes: number): void
  /** Ends the clock; nothing is waited for any more. */
  stop(): void
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
 *
 * There is a wait for each chunk of each upload, so a wait makes no timer and no listener of its own: one timer looks now
 * and then. It is never late: debt grows no faster than time passes.
 */
export function createPatience(options: PatienceOptions): Patience {
  const { idleTimeout, minRate, signal, now = () => performance.now() } = options
  let debt = 0
  let since = 0
  let fail: ((error: Error) => void) | undefined
  let timer: NodeJS.Timeout | undefined

  function look(): void {
    timer = undefined
    if (!fail) return
    const left = idleTimeout - debt - (now() - since)
    if (left <= 0) fail(new ClientTimeoutError('the upload stalled: too little arrived in time'))
    else timer = setTimeout(look, Math.ceil(left))
  }
  const onAbort = (): void => fail?.(signal.reason as Error)
  signal.addEventListener('abort', onAbort, { once: true })

  return {
    sent(bytes) {
      debt = minRate === 0 ? 0 : Math.max(0, debt - (bytes / minRate) * 1_000)
    },
    wait(promise) {
      return new Promise((resolve, reject) => {
        if (signal.aborted) {
          reject(signal.reason as Error)
          return
        }
        since = now()
        timer ??= setTimeout(look, Math.max(0, Math.ceil(idleTimeout - debt)))
        const end = (): void => {
          fail = undefined
          debt += now() - since
        }
        fail = (error) => {
          end()
          reject(error)
        }
        const mine = fail
        promise.then(
          (value) => {
            if (fail === mine) end()
            resolve(value)
          },
          (error: unknown) => {
            if (fail === mine) end()
            reject(error as Error)
          },
        )
      })
    },
    stop() {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    },
  }
}
