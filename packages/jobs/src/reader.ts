import { type RedisClient, untilReady, withDeadline } from '@fastify-scale/kit'
import type { Job, Queue, QueueEvents } from 'bullmq'
import { NotFoundError, OptionError, UnavailableError } from './errors.ts'
import { fromPublicId, toPublicId } from './ids.ts'
import type { DeadLetter, JobState, JobStatus, QueueCounts } from './types.ts'
import { waitForEnd } from './waiting.ts'

export interface ReaderOptions {
  client: RedisClient
  /** `undefined` for a queue that there is not. */
  queueOf: (name: string) => Queue | undefined
  /** A queue's events; made when first asked for. */
  eventsOf: (name: string) => QueueEvents
  /** For one question to Redis, in ms. */
  timeout: number
  /** Aborts when the service closes: nothing is waited for any more. */
  closing: AbortSignal
}

/** Asks for jobs. Everything throws SCALE_JOBS_UNAVAILABLE where Redis does not answer in time. */
export interface Reader {
  status(id: string): Promise<JobStatus | undefined>
  waitUntilFinished(id: string, timeout: number): Promise<unknown>
  deadLetters(queue: string, limit: number): Promise<DeadLetter[]>
  retry(id: string): Promise<void>
  counts(queue: string): Promise<QueueCounts>
}

/** Where BullMQ counts in a job's hash how often it lost its process, and does not forget it when the job is run again. */
const CRASHES = 'stc'

const STATES: Readonly<Record<string, JobState>> = {
  wait: 'waiting',
  waiting: 'waiting',
  prioritized: 'waiting',
  'waiting-children': 'waiting',
  delayed: 'delayed',
  active: 'active',
  completed: 'completed',
  failed: 'failed',
}

export function createReader({ client, queueOf, eventsOf, timeout, closing }: ReaderOptions): Reader {
  async function ask<T>(what: string, question: () => Promise<T>): Promise<T> {
    try {
      await untilReady(client, timeout)
      return await withDeadline(question(), timeout, what)
    } catch (error) {
      if (error instanceof NotFoundError) throw error
      throw new UnavailableError(`${what} was not done within ${timeout} ms: ${(error as Error).message}`)
    }
  }

  async function find(id: string): Promise<Job | undefined> {
    const ref = fromPublicId(id)
    const job = (await (ref && queueOf(ref.queue))?.getJob(ref?.jobId as string).catch(unlessWrongType)) as
      | Job
      | undefined
    // BullMQ keeps other things under keys of the same form.
    return job?.name === undefined ? undefined : job
  }

  async function demand(id: string): Promise<Job> {
    const job = await find(id)
    if (!job) throw new NotFoundError(`there is no job '${id}' (any more)`)
    return job
  }

  function known(name: string): Queue {
    const queue = queueOf(name)
    if (!queue) throw new OptionError(`there is no queue '${name}'`)
    return queue
  }

  return {
    status: (id) =>
      ask(`looking up job '${id}'`, async () => {
        const state = STATES[(await (await find(id))?.getState()) ?? ''] ?? 'unknown'
        // Read after the state: what is said of a job that has ended is all there.
        const job = await find(id)
        return job && toStatus(job, state)
      }),

    async waitUntilFinished(id, patience) {
      const ref = fromPublicId(id)
      if (!ref || !queueOf(ref.queue)) throw new NotFoundError(`there is no job '${id}'`)
      const look = (): Promise<JobStatus | undefined> => this.status(id)
      return waitForEnd({ id, jobId: ref.jobId, look, events: eventsOf(ref.queue), patience, closing })
    },

    deadLetters: (name, limit) => {
      const queue = known(name)
      return ask('listing dead letters', async () => {
        const jobs = (await queue.getFailed(0, limit - 1)) as (Job | undefined)[]
        return jobs
          .filter((job) => job !== undefined)
          .map((job) => ({
            ...toStatus(job, 'failed'),
            data: (job.data as { data?: unknown } | undefined)?.data,
            stack: job.stacktrace ?? [],
          }))
      })
    },

    retry: (id) =>
      ask(`running job '${id}' again`, async () => {
        const job = await demand(id)
        if ((await job.getState()) !== 'failed') throw new NotFoundError(`job '${id}' is no dead letter`)
        await client.hdel(known(job.queueName).toKey(job.id as string), CRASHES)
        try {
          await job.retry('failed', { resetAttemptsMade: true, resetAttemptsStarted: true })
        } catch (error) {
          // Somebody else was first.
          if ((await job.getState()) !== 'failed') throw new NotFoundError(`job '${id}' is no dead letter`)
          throw error
        }
      }),

    counts: (name) => {
      const queue = known(name)
      return ask('counting jobs', async () => {
        const counts = await queue.getJobCounts('wait', 'prioritized', 'delayed', 'active', 'completed', 'failed')
        const { wait = 0, prioritized = 0, delayed = 0, active = 0, completed = 0, failed = 0 } = counts
        return { waiting: wait + prioritized, delayed, active, completed, failed }
      })
    },
  }
}

/** A key that holds something else holds no job. */
function unlessWrongType(error: Error): undefined {
  if (!error.message.startsWith('WRONGTYPE')) throw error
}

function toStatus(job: Job, state: JobState): JobStatus {
  return {
    id: toPublicId({ queue: job.queueName, jobId: job.id as string }),
    queue: job.queueName,
    name: job.name,
    state,
    progress: job.progress as unknown,
    result: job.returnvalue as unknown,
    error: job.failedReason || undefined,
    attempts: job.attemptsMade,
    addedAt: job.timestamp,
    startedAt: job.processedOn,
    finishedAt: job.finishedOn,
  }
}
