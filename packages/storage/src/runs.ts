import { uploadFailed, uploadStored } from './channels.ts'
import { ClosingError, withRetryAfter } from './errors.ts'
import type { Patience } from './patience.ts'
import { S3Error } from './s3-call.ts'
import type { Slots } from './slots.ts'
import type { UploadSource } from './source.ts'
import type { StorageLog } from './storage.ts'
import { type StoredFile, type UploadDeps, type UploadPlan, uploadAll } from './upload.ts'

/** One upload, or one `put()`. */
export interface StoreJob {
  plan: UploadPlan
  /** How long it may wait for a slot, in ms, where not as long as all. */
  slotWait?: number
  patience: Patience
  /** Called when it has its slot. */
  source: () => UploadSource
  persist: (files: StoredFile[], fields: URLSearchParams) => unknown
  /** Where a failure of S3 is told. */
  to: StorageLog
}

/** What this process stores just now: in slots, counted, and ended by a drain. */
export interface Runs {
  /** How many are not answered yet. */
  readonly active: number
  /** Runs one to its end, and makes it known to the drain. */
  track(run: (stop: AbortController) => Promise<StoredFile[]>): Promise<StoredFile[]>
  /** What all have in common: a slot, the file, `persist`, and nothing left on failure. */
  store(job: StoreJob, stop: AbortController): Promise<StoredFile[]>
  /** Waits until none runs; ends those that still do when most of the budget is used up. */
  drain(context: { budget: number; signal: AbortSignal }): Promise<void>
  /** Takes no more. */
  close(): void
}

/** What part of the time for draining uploads may take; the rest is for removing what those left that were ended. */
const UPLOADS_SHARE = 0.7

export function createRuns({
  slots,
  deps,
  onS3Error,
}: {
  slots: Slots
  deps: UploadDeps
  /** What callers get for a failure of S3. */
  onS3Error: (error: S3Error, to: StorageLog) => Error
}): Runs {
  /** The ends of all uploads that run, and their stops. */
  const running = new Map<Promise<unknown>, AbortController>()
  let closing = false

  async function store(
    { plan, slotWait, patience, source, persist, to }: StoreJob,
    stop: AbortController,
  ): Promise<StoredFile[]> {
    const start = performance.now()
    let release: (() => void) | undefined
    const freeSlot = (): void => {
      release?.()
      release = undefined
    }
    try {
      if (closing) throw withRetryAfter(new ClosingError('the server is closing, try again'), 1)
      release = await slots.take(stop.signal, slotWait)
      const files = await uploadAll(deps, plan, source(), stop, persist, freeSlot)
      for (const { key, size, contentType } of files)
        uploadStored.publish(() => ({ key, size, contentType, ms: performance.now() - start }))
      return files
    } catch (error) {
      const code = (error as { code?: unknown } | null)?.code
      uploadFailed.publish(() => ({ code: String(code), ms: performance.now() - start }))
      throw error instanceof S3Error ? onS3Error(error, to) : error
    } finally {
      freeSlot()
      patience.stop()
    }
  }

  function track(run: (stop: AbortController) => Promise<StoredFile[]>): Promise<StoredFile[]> {
    const stop = new AbortController()
    const work = run(stop)
    const tracked = work.then(
      () => {},
      () => {},
    )
    running.set(tracked, stop)
    void tracked.then(() => running.delete(tracked))
    return work
  }

  return {
    get active() {
      return running.size
    },
    track,
    store,
    async drain({ budget, signal }) {
      const endUploads = (): void => {
        closing = true
        for (const stop of running.values())
          stop.abort(withRetryAfter(new ClosingError('the server is closing, try again'), 1))
      }
      const timer = setTimeout(endUploads, budget * UPLOADS_SHARE)
      const aborted = new Promise<void>((resolve) => {
        if (signal.aborted) resolve()
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
      while (running.size > 0 && !signal.aborted) await Promise.race([Promise.all(running.keys()), aborted])
      clearTimeout(timer)
    },
    close() {
      closing = true
    },
  }
}
