import { show } from '@fastify-scale/kit'
import { DelayedError, type Job, UnrecoverableError, WaitingError } from 'bullmq'
import type { FastifyBaseLogger } from 'fastify'
import { completedChannel, failedChannel, startedChannel } from './channels.ts'
import type { Definition, Definitions } from './definitions.ts'
import { type Envelope, unpack } from './envelope.ts'
import { HandBackError, type HandBackReason, TimeoutError } from './errors.ts'
import { toPublicId } from './ids.ts'
import type { Sandboxes } from './sandbox.ts'
import type { JobContext } from './types.ts'

export interface RunnerOptions {
  definitions: Definitions
  sandboxes: Sandboxes
  log: FastifyBaseLogger
  /** Makes BullMQ forget that a job was started once more. */
  uncountStart: (job: Job) => Promise<unknown>
  /** How long a handler gets to end by itself after its signal, in ms. Default 5,000. */
  grace?: number
}

/** How long a job waits that no process could run yet (of a newer release), in ms. */
const UNKNOWN_DELAY = 5_000

/** BullMQ's processor for one queue: `signal` aborts when the job is lost, or is to be handed back. */
export type Runner = (job: Job, token: string | undefined, signal: AbortSignal | undefined) => Promise<unknown>

export function createRunner(options: RunnerOptions): Runner {
  const { definitions, sandboxes, log, uncountStart, grace = 5_000 } = options
  return async function runJob(job, token = '', signal = new AbortController().signal) {
    const { name } = job
    const queue = job.queueName
    const id = toPublicId({ queue, jobId: job.id as string })
    const definition = definitions.get(name)
    if (definition?.queue !== queue) {
      log.warn({ job: id, name }, 'this process has no handler for the job; it waits for one that has')
      // It was not run: nothing that a handler would have to know of.
      await uncountStart(job).catch(() => undefined)
      await job.moveToDelayed(Date.now() + UNKNOWN_DELAY, token)
      throw new DelayedError()
    }
    const start = performance.now()
    try {
      const envelope = readData(definition, job)
      const context = contextOf(definition, job, envelope, id, log)
      startedChannel.publish(() => ({
        queue,
        name,
        id,
        attempt: context.attempt,
        reruns: context.reruns,
        waited: Math.max(0, Date.now() - job.timestamp - job.delay),
      }))
      const result = await runWithin(definition, job, envelope, context, token, signal)
      completedChannel.publish(() => ({ queue, name, id, ms: Math.round(performance.now() - start) }))
      return result
    } catch (thrown) {
      if (thrown instanceof WaitingError) throw thrown
      // BullMQ reads the message of whatever was thrown.
      const error = thrown instanceof Error ? thrown : new Error(`thrown: ${show(thrown)}`)
      const final = error instanceof UnrecoverableError || job.attemptsMade + 1 >= attemptsOf(job)
      log.warn({ job: id, name, err: error, final }, final ? 'job failed for good' : 'job failed, to be tried again')
      failedChannel.publish(() => ({
        queue,
        name,
        id,
        ms: Math.round(performance.now() - start),
        error,
        final,
      }))
      throw error
    }
  }

  async function runWithin(
    definition: Definition,
    job: Job,
    { data }: Envelope,
    context: Omit<JobContext, 'signal'>,
    token: string,
    outer: AbortSignal,
  ): Promise<unknown> {
    const { name, handler, sandbox, timeout } = definition
    const late = new AbortController()
    const signal = AbortSignal.any([outer, late.signal])
    const timer =
      timeout === 0
        ? undefined
        : setTimeout(() => late.abort(new TimeoutError(`job '${name}' took longer than ${timeout} ms`)), timeout)
    const run =
      sandbox === undefined
        ? { result: (async () => handler?.(data, { ...context, signal }))(), kill: async () => undefined }
        : sandboxes.run(sandbox, { job, data, token, signal })
    try {
      return await untilAborted(run.result, signal, (reason) =>
        reason instanceof HandBackError ? (reason as unknown as HandBackReason).grace : grace,
      )
    } catch (error) {
      if (!signal.aborted) throw error
      const reason = signal.reason as Error
      // What did not end by itself is ended, where it can be.
      await run.kill()
      run.result.catch(() => undefined)
      if (!(reason instanceof HandBackError)) throw reason
      await job.moveToWait(token)
      throw new WaitingError()
    } finally {
      clearTimeout(timer)
    }
  }
}

/** Settles like `work`; when the signal aborts, at the latest as many ms after it as `graceOf` its reason. */
async function untilAborted<T>(
  work: Promise<T>,
  signal: AbortSignal,
  graceOf: (reason: unknown) => number,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  let give: () => void = () => undefined
  const given = new Promise<never>((_resolve, reject) => {
    give = () => {
      timer = setTimeout(() => reject(signal.reason as Error), graceOf(signal.reason))
    }
    if (signal.aborted) give()
    else signal.addEventListener('abort', give, { once: true })
  })
  try {
    return await Promise.race([work, given])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', give)
  }
}

/** Data that are wrong now stay wrong: no further attempt. */
function readData(definition: Definition, job: Job): Envelope {
  try {
    const envelope = unpack(job.name, job.data)
    definition.check(envelope.data)
    return envelope
  } catch (error) {
    const { code, message } = error as Error & { code: string }
    throw new UnrecoverableError(`${code}: ${message}`)
  }
}

/** BullMQ goes by what the job was added with, which another release may have done. */
function attemptsOf(job: Job): number {
  return job.opts.attempts ?? 1
}

function contextOf(
  { name }: Definition,
  job: Job,
  { key }: Envelope,
  id: string,
  log: FastifyBaseLogger,
): Omit<JobContext, 'signal'> {
  return {
    id,
    name,
    attempt: job.attemptsMade + 1,
    attempts: attemptsOf(job),
    // Started, but neither completed nor failed.
    reruns: Math.max(0, job.attemptsStarted - job.attemptsMade - 1),
    idempotencyKey: key ?? id,
    log: log.child({ job: id, name }),
    progress(value) {
      const reported = job.updateProgress(value)
      // Few wait for it, and a job may be gone: nobody's rejection would end the process.
      reported.catch(() => undefined)
      return reported
    },
  }
}
