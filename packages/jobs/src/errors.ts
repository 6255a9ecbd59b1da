import { type ScaleErrorConstructor, createScaleError } from '@fastify-scale/kit'

/** A wrong option, at registration, in `define` or in `cron`. */
export const OptionError: ScaleErrorConstructor = createScaleError('SCALE_JOBS_OPTION')

/** A cron text or a time zone that can't be read. */
export const CronError: ScaleErrorConstructor = createScaleError('SCALE_JOBS_CRON')

/** A job was defined twice, or after the service was ready. */
export const DefineError: ScaleErrorConstructor = createScaleError('SCALE_JOBS_DEFINE')

/** Data that the job's schema refuses, or that JSON can't carry. Status 400. */
export const InvalidDataError: ScaleErrorConstructor = createScaleError('SCALE_JOBS_INVALID_DATA', '%s', 400)

/** Data larger than `maxSize`. Status 413. */
export const TooLargeError: ScaleErrorConstructor = createScaleError('SCALE_JOBS_TOO_LARGE', '%s', 413)

/**
 * Redis did not answer in time. Where a job was being added: it may or may not have been; adding it again with the same
 * `idempotencyKey` is safe. Status 503.
 */
export const UnavailableError: ScaleErrorConstructor = createScaleError('SCALE_JOBS_UNAVAILABLE', '%s', 503)

/** There is no job with that id (any more). Status 404. */
export const NotFoundError: ScaleErrorConstructor = createScaleError('SCALE_JOBS_NOT_FOUND', '%s', 404)

/** The job did not end within the time that the caller would wait. Status 504. */
export const WaitError: ScaleErrorConstructor = createScaleError('SCALE_JOBS_WAIT', '%s', 504)

/** The job failed for good; the message is its last error's. */
export const FailedError: ScaleErrorConstructor = createScaleError('SCALE_JOBS_FAILED')

/** A handler took longer than its `timeout`: a failed attempt. */
export const TimeoutError: ScaleErrorConstructor = createScaleError('SCALE_JOBS_TIMEOUT')

/** The reason of a handler's signal when its process ends: the job is handed back and runs elsewhere. */
export const HandBackError: ScaleErrorConstructor = createScaleError('SCALE_JOBS_HAND_BACK')

/** What a `HandBackError` says beside: how long the handler has to end by itself, in ms. */
export interface HandBackReason {
  grace: number
}

/** The reason of a handler's signal when its lock was lost: another process may be running the job. */
export const LockLostError: ScaleErrorConstructor = createScaleError('SCALE_JOBS_LOCK_LOST')
