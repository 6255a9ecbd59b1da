import { pause } from '@fastify-scale/kit'
import type { QueueEvents } from 'bullmq'
import { FailedError, NotFoundError, UnavailableError, WaitError } from './errors.ts'
import type { JobStatus } from './types.ts'

export interface WaitOptions {
  /** Whose end is waited for, as users and as BullMQ know it. */
  id: string
  jobId: string
  /** Rejects with SCALE_JOBS_UNAVAILABLE where Redis does not say. */
  look: () => Promise<JobStatus | undefined>
  events: Pick<QueueEvents, 'on' | 'off'>
  /** How long to wait, in ms. */
  patience: number
  /** Aborts when the service closes. */
  closing: AbortSignal
}

type End = { result: unknown } | { error: string | undefined }

const FIRST_SLICE_MS = 250
const SLICE_MS = 5_000

/**
 * Waits for a job's result. In place of BullMQ's own, which leaves a promise uncaught where Redis is away or the connection
 * closed: that would end the process. Events from before they are listened to, or from while Redis is away, are never heard,
 * so the job is looked up again and again.
 *
 * @throws SCALE_JOBS_FAILED, SCALE_JOBS_WAIT, SCALE_JOBS_NOT_FOUND, SCALE_JOBS_UNAVAILABLE
 */
export async function waitForEnd({ id, jobId, look, events, patience, closing }: WaitOptions): Promise<unknown> {
  const until = performance.now() + patience
  const wake = new AbortController()
  let heard: End | undefined
  const onCompleted = ({ returnvalue }: { returnvalue: unknown }): void => hear({ result: returnvalue })
  const onFailed = ({ failedReason }: { failedReason: string }): void => hear({ error: failedReason })
  const onClosing = (): void => wake.abort()

  function hear(end: End): void {
    heard = end
    wake.abort()
  }

  async function untilEnd(): Promise<End> {
    let status = await look()
    if (!status) throw new NotFoundError(`there is no job '${id}' (any more)`)
    for (let slice = FIRST_SLICE_MS; ; slice = Math.min(slice * 2, SLICE_MS)) {
      const end = heard ?? endOf(status)
      if (end) return end
      if (closing.aborted) throw new UnavailableError(`the service closes: job '${id}' is not waited for any more`)
      const left = until - performance.now()
      if (left <= 0) throw new WaitError(`job '${id}' did not end within ${patience} ms`)
      const wasThere = status !== undefined
      await pause(Math.min(left, slice), wake.signal)
      if (heard || closing.aborted) continue
      // Redis away: what it would say is not known yet.
      status = await look().catch(() => status)
      // The end of one of which nothing is kept may be on its way: it is gone when it is not there twice.
      if (!status && !wasThere) throw new NotFoundError(`there is no job '${id}' any more`)
    }
  }

  events.on(`completed:${jobId}` as never, onCompleted as never)
  events.on(`failed:${jobId}` as never, onFailed as never)
  closing.addEventListener('abort', onClosing)
  try {
    const end = await untilEnd()
    if ('error' in end) throw new FailedError(`job '${id}' failed: ${end.error}`)
    return end.result
  } finally {
    events.off(`completed:${jobId}` as never, onCompleted as never)
    events.off(`failed:${jobId}` as never, onFailed as never)
    closing.removeEventListener('abort', onClosing)
  }
}

function endOf(status: JobStatus | undefined): End | undefined {
  if (status?.state === 'completed') return { result: status.result }
  return status?.state === 'failed' ? { error: status.error } : undefined
}
