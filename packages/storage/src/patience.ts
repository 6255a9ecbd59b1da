import { ClientTimeoutError } from './errors.ts'

export interface Patience {
  /**
   * Waits for something that the client must send. Rejects with SCALE_STORAGE_CLIENT_TIMEOUT when the client has used
   * up its time, and with the signal's reason when that aborts. One wait at a time.
   */
  wait<T>(promise: Promise<T>): Promise<T>
  /** The same without a promise: the clock runs until `end()`, or until it calls `fail`. */
  begin(fail: (error: Error) => void): void
  end(): void
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
  /** What is thrown when it is over. Default: SCALE_STORAGE_CLIENT_TIMEOUT. */
  late?: () => Error
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
  const {
    idleTimeout,
    minRate,
    signal,
    late = () => new ClientTimeoutError('the upload stalled: too little arrived in time'),
    now = () => performance.now(),
  } = options
  let debt = 0
  let since = 0
  let fail: ((error: Error) => void) | undefined
  let timer: NodeJS.Timeout | undefined

  function look(): void {
    timer = undefined
    if (!fail) return
    const left = idleTimeout - debt - (now() - since)
    if (left <= 0) fail(late())
    else timer = setTimeout(look, Math.ceil(left))
  }
  const onAbort = (): void => fail?.(signal.reason as Error)
  signal.addEventListener('abort', onAbort, { once: true })

  function begin(onFail: (error: Error) => void): void {
    if (signal.aborted) return onFail(signal.reason as Error)
    since = now()
    timer ??= setTimeout(look, Math.max(0, Math.ceil(idleTimeout - debt)))
    fail = (error) => {
      end()
      onFail(error)
    }
  }
  function end(): void {
    if (!fail) return
    fail = undefined
    debt += now() - since
  }

  return {
    begin,
    end,
    sent(bytes) {
      debt = minRate === 0 ? 0 : Math.max(0, debt - (bytes / minRate) * 1_000)
    },
    wait(promise) {
      return new Promise((resolve, reject) => {
        let over = false
        const settle = (act: () => void): void => {
          if (over) return
          over = true
          act()
        }
        begin((error) => settle(() => reject(error)))
        promise.then(
          (value) =>
            settle(() => {
              end()
              resolve(value)
            }),
          (error: unknown) =>
            settle(() => {
              end()
              reject(error as Error)
            }),
        )
      })
    },
    stop() {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    },
  }
}
