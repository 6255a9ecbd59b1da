import type { Duration, Size } from '@fastify-scale/kit'
import type { Queue } from 'bullmq'
import type { FastifyBaseLogger } from 'fastify'

/** What a process does: `web` only adds jobs, `jobs` works (and may add), `all` does both. */
export type Role = 'web' | 'jobs' | 'all'

/** Jobs of a higher priority run before all waiting ones of a lower one; within one, first come, first served. */
export type Priority = 'high' | 'normal' | 'low'

export interface Backoff {
  /** `exponential` doubles the delay with each attempt. Default `'exponential'`. */
  type?: 'fixed' | 'exponential'
  /** The (first) delay. */
  delay: Duration
  /** The share of the delay that is random, 0 to 1. Default 0.5. */
  jitter?: number
}

export interface JobOptions {
  /** A JSON Schema of the data (TypeBox works), checked when a job is added and again before it runs. */
  schema?: object
  /** How often a failing job is tried in all. Default 3. */
  attempts?: number
  /** How long a failed job waits for its next attempt. Default `{ type: 'exponential', delay: '1s', jitter: 0.5 }`. */
  backoff?: Duration | Backoff
  /**
   * How long the handler may take; then its signal aborts and the attempt has failed. `false`: as long as it likes.
   * Default `'5m'`.
   */
  timeout?: Duration | false
}

export interface SandboxOptions extends JobOptions {
  /**
   * A module that does the work in a child process of its own, for handlers that would block the event loop, or may
   * hang or run out of memory: it exports BullMQ's processor `(job) => result` as its default; `job.data` is the data.
   */
  sandbox: URL | string
  /** How much memory the child's JavaScript may use, in bytes or as `'256MB'`; past it the attempt fails. Default: Node.js's. */
  memory?: Size
}

export interface CronOptions extends Omit<JobOptions, 'schema'> {
  /** An IANA time zone. Default `'UTC'`. */
  timezone?: string
  priority?: Priority
}

/** What a handler gets beside its data. */
export interface JobContext {
  /** The job's id, as `add` returned it. */
  readonly id: string
  readonly name: string
  /** Which attempt this is, from 1, and how many there may be. */
  readonly attempt: number
  readonly attempts: number
  /**
   * How many runs before this one ended without a result because their process died or the job was handed back: what
   * they did may have been done already.
   */
  readonly reruns: number
  /** The key given to `add`, else the job's id: the same in every attempt, for whatever the handler calls. */
  readonly idempotencyKey: string
  /** Aborts at the timeout, when the process ends, and when the job was lost to another process. */
  readonly signal: AbortSignal
  readonly log: FastifyBaseLogger
  /** Reports progress, for `status` and for listeners: a number or anything that JSON carries. */
  progress(value: number | object): Promise<void>
}

export type JobHandler<Data, Result> = (data: Data, context: JobContext) => Promise<Result> | Result

export interface AddOptions {
  /** Default `'normal'`. */
  priority?: Priority
  /** How long the job waits at least. Default 0. */
  delay?: Duration
  /**
   * Jobs of one name that are added with the same key are one job, for at least the plugin's `idempotency` time.
   */
  idempotencyKey?: string
}

/** A job that was added. */
export interface AddedJob {
  readonly id: string
}

/** What `define` returns: adds jobs of one kind. */
export interface JobHandle<Data> {
  readonly name: string
  /**
   * Adds a job. When it resolves, Redis has the job, once.
   *
   * @throws SCALE_JOBS_INVALID_DATA, SCALE_JOBS_TOO_LARGE, SCALE_JOBS_OPTION, SCALE_JOBS_UNAVAILABLE
   */
  add(data: Data, options?: AddOptions): Promise<AddedJob>
}

export type JobState = 'waiting' | 'delayed' | 'active' | 'completed' | 'failed' | 'unknown'

export interface JobStatus {
  readonly id: string
  readonly queue: string
  readonly name: string
  readonly state: JobState
  readonly progress: unknown
  /** What the handler returned. */
  readonly result: unknown
  /** The message of the last error. */
  readonly error: string | undefined
  /** Attempts that have ended. */
  readonly attempts: number
  /** Times in ms since 1970. */
  readonly addedAt: number
  readonly startedAt: number | undefined
  readonly finishedAt: number | undefined
}

/** A job that failed for good. */
export interface DeadLetter extends JobStatus {
  readonly data: unknown
  readonly stack: readonly string[]
}

export type QueueCounts = Record<'waiting' | 'delayed' | 'active' | 'completed' | 'failed', number>

/** `fastify.jobs`. */
export interface JobsApi {
  readonly role: Role
  /**
   * Defines a kind of job. `images.resize` is of the queue `images`; a name without a dot is of the queue `default`.
   * Before the service is ready, in every process that adds or runs such jobs.
   *
   * @throws SCALE_JOBS_OPTION, SCALE_JOBS_DEFINE
   */
  define<Data = unknown, Result = unknown>(name: string, handler: JobHandler<Data, Result>): JobHandle<Data>
  define<Data = unknown, Result = unknown>(
    name: string,
    options: JobOptions,
    handler: JobHandler<Data, Result>,
  ): JobHandle<Data>
  define<Data = unknown>(name: string, options: SandboxOptions): JobHandle<Data>
  /**
   * Runs the handler at each tick of a cron text (five fields, or six with seconds), once in the whole cluster; `H` in it is a
   * time that the name chooses.
   *
   * @throws SCALE_JOBS_CRON, SCALE_JOBS_OPTION, SCALE_JOBS_DEFINE
   */
  cron(name: string, pattern: string, handler: JobHandler<CronTick, unknown>): void
  cron(name: string, pattern: string, options: CronOptions, handler: JobHandler<CronTick, unknown>): void
  /** `undefined` where there is no such job (any more). @throws SCALE_JOBS_UNAVAILABLE */
  status(id: string): Promise<JobStatus | undefined>
  /**
   * Waits for a job's result, at most `timeout` (default 30 s), also while Redis is away. The service's close ends it.
   *
   * @throws SCALE_JOBS_FAILED, SCALE_JOBS_WAIT, SCALE_JOBS_NOT_FOUND, SCALE_JOBS_UNAVAILABLE
   */
  waitUntilFinished(id: string, options?: { timeout?: Duration }): Promise<unknown>
  /** Jobs that failed for good, the last one first. */
  deadLetters(queue: string, options?: { limit?: number }): Promise<DeadLetter[]>
  /** Runs a dead letter again, with all its attempts. @throws SCALE_JOBS_NOT_FOUND */
  retry(id: string): Promise<void>
  counts(queue: string): Promise<QueueCounts>
  /**
   * BullMQ's own queues, for what this plugin does not wrap (bull-board, pausing a queue). A job that is added past this plugin,
   * in a flow for example, reaches a handler of `define` where its `data` are `{ v: 1, data }`.
   */
  queues(): Queue[]
}

/** The data of a cron job. */
export interface CronTick {
  /** The moment that the job was due, as an ISO 8601 text. */
  readonly tick: string
}
