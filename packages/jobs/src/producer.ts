import { type RedisClient, retryWithin, untilReady, withDeadline } from '@fastify-scale/kit'
import type { Queue } from 'bullmq'
import { addedChannel } from './channels.ts'
import type { Definition } from './definitions.ts'
import { pack } from './envelope.ts'
import { UnavailableError } from './errors.ts'
import { toPublicId } from './ids.ts'
import type { AddedJob, Priority } from './types.ts'

/**
 * BullMQ runs jobs of priority 0, its default, before all prioritised ones, and a lower number before a higher: so
 * every job has one of these.
 */
export const PRIORITIES: Readonly<Record<Priority, number>> = { high: 10, normal: 20, low: 30 }

export interface ProducerOptions {
  client: RedisClient
  queueOf: (name: string) => Queue
  /** For one job, in ms. */
  timeout: number
  maxSize: number
}

export interface NewJob {
  jobId: string
  data: unknown
  priority: Priority
  /** In ms. */
  delay: number
  key?: string
  /** How long in ms the id is remembered, also when the job is gone. */
  remember?: number
}

/**
 * Adds a job, once: its id is made here, and BullMQ adds no second job of the same id, so that a connection that breaks
 * on the way is no reason to give up before the time is over.
 *
 * @throws SCALE_JOBS_INVALID_DATA, SCALE_JOBS_TOO_LARGE, SCALE_JOBS_UNAVAILABLE
 */
export async function addJob(options: ProducerOptions, definition: Definition, job: NewJob): Promise<AddedJob> {
  const { client, timeout, maxSize } = options
  const { name, queue, attempts, backoff } = definition
  const { jobId, priority, delay, key, remember } = job
  const envelope = pack(name, job.data, maxSize, key)
  definition.check(envelope.data)
  try {
    await retryWithin(timeout, async (left) => {
      const start = performance.now()
      // Nothing is handed to BullMQ that would wait for Redis there and then be done late.
      await untilReady(client, left)
      const adding = options.queueOf(queue).add(name, envelope, {
        jobId,
        delay,
        priority: PRIORITIES[priority],
        attempts,
        backoff,
        stackTraceLimit: 10,
        ...(remember === undefined ? {} : { deduplication: { id: jobId, ttl: remember } }),
      })
      await withDeadline(adding, Math.max(1, left - (performance.now() - start)), `adding job '${name}'`)
    })
  } catch (error) {
    throw new UnavailableError(
      `job '${name}' could not be added within ${timeout} ms (${(error as Error).message}); whether it was is not known: with an idempotencyKey it is safe to add it again`,
    )
  }
  const id = toPublicId({ queue, jobId })
  addedChannel.publish(() => ({ queue, name, id }))
  return { id }
}
