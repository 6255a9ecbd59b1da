import { UnavailableError, withRetryAfter } from './errors.ts'

/** What may be said of an S3 error in a log: never the error itself, which carries keys, signatures and request headers. */
export interface S3Failure {
  /** The SDK's or the server's name for it: `NoSuchBucket`, `TimeoutError`, `ECONNREFUSED`. */
  reason: string
  status?: number
  requestId?: string
  attempts?: number
}

/** A request to S3 that failed: all that is kept of the SDK's error. Stays inside; callers get `unavailable()`. */
export class S3Error extends Error {
  readonly failure: S3Failure
  constructor(failure: S3Failure) {
    super(`S3 request failed: ${failure.reason}`)
    this.name = 'S3Error'
    this.failure = failure
  }

  /** True where S3 understood and said no: nothing was done, and asking again will not help. */
  get refused(): boolean {
    const { status = 0 } = this.failure
    return status >= 400 && status < 500 && status !== 408 && status !== 429
  }

  /** True where S3 says that the object, upload or bucket is not there. */
  get missing(): boolean {
    return this.failure.status === 404 || this.failure.reason === 'NoSuchKey' || this.failure.reason === 'NoSuchUpload'
  }
}

/**
 * Runs one S3 request within a bound, whatever the SDK makes of its own timeouts. Rejects with an `S3Error`, or with the
 * signal's reason when that aborts.
 *
 * @param needs ms that S3 may need for its answer alone: the bound is no shorter, and the request is not sent again before it
 */
export type S3Call = <T>(
  send: (options: { abortSignal: AbortSignal; requestTimeout?: number }) => Promise<T>,
  signal?: AbortSignal,
  needs?: number,
) => Promise<T>

/** For the SDK, where a bound of ours ends the request: 0 would mean the client's own. */
export const NO_REQUEST_TIMEOUT: number = 2 ** 31 - 1

/**
 * @param bound ms for one request with all its attempts
 */
export function createS3Call(bound: number): S3Call {
  return function call(send, signal, needs) {
    return new Promise((resolve, reject) => {
      const controller = new AbortController()
      const settle = (act: () => void): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
        act()
      }
      const onAbort = (): void => {
        settle(() => reject(signal?.reason as Error))
        controller.abort()
      }
      const timer = setTimeout(
        () => {
          settle(() => reject(timeout()))
          controller.abort()
        },
        Math.max(bound, needs ?? 0),
      )
      if (signal?.aborted) return onAbort()
      signal?.addEventListener('abort', onAbort, { once: true })
      const requestTimeout = needs === undefined ? undefined : NO_REQUEST_TIMEOUT
      send({ abortSignal: controller.signal, requestTimeout }).then(
        (value) => settle(() => resolve(value)),
        (error: unknown) => settle(() => reject(toS3Error(error))),
      )
    })
  }
}

/** S3 did not do its part in time. */
export function timeout(): S3Error {
  return new S3Error({ reason: 'TimeoutError' })
}

export function toS3Error(error: unknown): S3Error {
  if (error instanceof S3Error) return error
  const one = error as {
    name?: string
    code?: string
    $metadata?: { httpStatusCode?: number; requestId?: string; attempts?: number }
  } | null
  const name = one?.name && one.name !== 'Error' && one.name !== 'AggregateError' ? one.name : one?.code
  return new S3Error({
    reason: name ?? 'unknown',
    status: one?.$metadata?.httpStatusCode,
    requestId: one?.$metadata?.requestId,
    attempts: one?.$metadata?.attempts,
  })
}

/** What a client may know about an S3 failure; the reason goes to the log. */
export function unavailable(): Error {
  return withRetryAfter(new UnavailableError('the file store is not available, try again in a moment'), 2)
}
