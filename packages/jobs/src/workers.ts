import { hostname } from 'node:os'
import { type Connections, type DrainContext, withDeadline } from '@fastify-scale/kit'
import { type Job, Worker } from 'bullmq'
import type { FastifyBaseLogger } from 'fastify'
import { failedChannel } from './channels.ts'
import { HandBackError, LockLostError } from './errors.ts'
import { toPublicId } from './ids.ts'
import type { ResolvedOptions } from './options.ts'
import type { Runner } from './runner.ts'

export interface WorkersOptions {
  connections: Connections
  options: ResolvedOptions
  /** What BullMQ's keys begin with. */
  prefix: string
  run: Runner
  log: FastifyBaseLogger
}

/** What works off the queues in this process. */
export interface Workers {
  start(queues: readonly string[]): void
  /** Takes no new jobs, waits for those that run, and hands back what would not end within the budget. */
  drain(context: DrainContext): Promise<void>
  close(): Promise<void>
}

function once(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

export function createWorkers({ connections, options, prefix, run, log }: WorkersOptions): Workers {
  const workers: Worker[] = []
  const running = new Set<Promise<unknown>>()
  /** What the runner has told of already. */
  const told = new WeakSet<Error>()

  /** A failure that is not a run's: the job lost its process too often, or its result can't be written down. */
  function onFailed(job: Job | undefined, error: Error): void {
    if (!job || told.has(error)) return
    const { queueName: queue, name } = job
    const id = toPublicId({ queue, jobId: job.id as string })
    const final = job.finishedOn !== undefined
    log.warn({ job: id, name, err: error, final }, final ? 'job failed for good' : 'job failed, to be tried again')
    failedChannel.publish(() => ({ queue, name, id, ms: 0, error, final }))
  }

  /** One queue. */
  function start(queue: string): Worker {
    const { concurrency, limiter } = options.queues[queue] as ResolvedOptions['queues'][string]
    const worker = new Worker(
      queue,
      (job, token, signal) => {
        const work = run(job, token, signal)
        const done = work.catch((error: unknown) => void told.add(error as Error)).finally(() => running.delete(done))
        running.add(done)
        return work
      },
      {
        connection: connections.patient({ name: `worker:${queue}` }),
        prefix,
        concurrency,
        ...(limiter && { limiter }),
        name: `${hostname()}:${process.pid}`,
        autorun: false,
        lockDuration: options.lock,
        // A job whose process died is found within half the time of its lock.
        stalledInterval: options.lock / 2,
        maxStalledCount: options.maxCrashes,
        removeOnComplete: options.keep.completed,
        removeOnFail: options.keep.failed,
        ...(options.telemetry && { telemetry: options.telemetry }),
      },
    )
    worker.on('error', (error) => log.debug({ err: error, queue }, 'jobs: a worker met an error'))
    worker.on('failed', onFailed)
    worker.on('stalled', (jobId) =>
      log.warn({ queue, job: `${queue}.${jobId}` }, 'a job lost its process and runs again'),
    )
    worker.on('lockRenewalFailed', (ids) => {
      for (const id of ids) worker.cancelJob(id, new LockLostError('the lock of the job was lost') as never)
    })
    worker.run().catch((error: unknown) => log.error({ err: error, queue }, 'jobs: a worker ended'))
    return worker
  }

  return {
    start(queues) {
      for (const queue of queues) workers.push(start(queue))
    },
    async drain({ budget, signal }) {
      // Resolves when their outcomes are written down, too.
      const finished = Promise.all(workers.map((worker) => worker.pause()))
      // Handing back takes time itself: half of the reserve for handlers to end, half for telling Redis.
      const reserve = Math.min(2_000, budget / 3)
      const handBack = (): void => {
        const reason = Object.assign(new HandBackError('the process ends: the job is handed back'), {
          grace: reserve / 2,
        })
        for (const worker of workers) worker.cancelAllJobs(reason as never)
      }
      const timer = setTimeout(handBack, budget - reserve)
      await Promise.race([finished, once(signal)])
      clearTimeout(timer)
    },
    async close() {
      await Promise.all(
        workers.map((worker) =>
          withDeadline(worker.close(running.size > 0), 2_000, 'closing a worker').catch((error: unknown) =>
            log.debug({ err: error }, 'jobs: a worker did not close in time'),
          ),
        ),
      )
    },
  }
}
