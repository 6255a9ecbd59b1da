import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  ListMultipartUploadsCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { backoff, pause } from '@fastify-scale/kit'
import { leftBehind } from './channels.ts'
import { type S3Call, S3Error, toS3Error } from './s3-call.ts'

export interface Leftover {
  key: string
  uploadId?: string
  /**
   * True where a request ended without an answer: the server may still carry it out, so all multipart uploads of the key
   * are looked for, and everything is looked at again after a while.
   */
  uncertain: boolean
  /** Only multipart uploads are removed: the object is good. */
  keepObject?: boolean
}

export interface Cleanup {
  /** How many removals are not done yet. */
  readonly pending: number
  /** Removes what an upload left. Resolves when it is gone, or after `answerWithin` ms, when it goes on in the background. Never rejects. */
  discard(leftover: Leftover): Promise<void>
  /** Resolves when nothing is left to do, or on the signal, when what is left is given up. Second looks are not waited for. */
  close(signal: AbortSignal): Promise<void>
}

export interface CleanupOptions {
  s3: S3Client
  call: S3Call
  bucket: string
  /** How long an answer to a client may wait for the removal, in ms. */
  answerWithin: number
  /** After what time an uncertain removal is looked at again, in ms. */
  secondLook: number
  /** For how long a removal is tried, in ms; then it is left to the lifecycle rule or the sweep. */
  giveUpAfter: number
  onLeftBehind: (key: string, reason: string) => void
}

/** Removes what failed uploads left in S3, for as long as it takes within bounds. */
export function createCleanup(options: CleanupOptions): Cleanup {
  const { s3, call, bucket } = options
  const running = new Set<Promise<void>>()
  const hurry = new AbortController()
  const giveUp = new AbortController()

  async function removeOnce({ key, uploadId, uncertain, keepObject }: Leftover): Promise<void> {
    const uploadIds = new Set(uploadId === undefined ? [] : [uploadId])
    if (uncertain) for (const found of await uploadsOf(key)) uploadIds.add(found)
    for (const id of uploadIds) {
      await call(
        (o) => s3.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId: id }), o),
        giveUp.signal,
      ).catch(unlessMissing)
    }
    if (keepObject) return
    await call((o) => s3.send(new DeleteObjectCommand({ Bucket: bucket, Key: key }), o), giveUp.signal).catch(
      unlessMissing,
    )
  }

  async function uploadsOf(key: string): Promise<string[]> {
    const { Uploads = [] } = await call(
      (o) => s3.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: key }), o),
      giveUp.signal,
    )
    return Uploads.flatMap((upload) => (upload.Key === key && upload.UploadId ? [upload.UploadId] : []))
  }

  /** Tries until it worked once. */
  async function remove(leftover: Leftover): Promise<void> {
    const until = performance.now() + options.giveUpAfter
    for (let attempt = 1; ; attempt++) {
      try {
        return await removeOnce(leftover)
      } catch (error) {
        const { refused, failure } = toS3Error(error)
        const { reason } = failure
        if (refused || giveUp.signal.aborted || performance.now() > until) {
          options.onLeftBehind(leftover.key, reason)
          leftBehind.publish(() => ({ key: leftover.key, reason }))
          return
        }
        // After a failure nothing is certain.
        leftover.uncertain = true
        await pause(backoff(attempt, 100, 5_000), giveUp.signal)
      }
    }
  }

  function track(work: Promise<void>): Promise<void> {
    const tracked = work.finally(() => running.delete(tracked))
    running.add(tracked)
    return tracked
  }

  return {
    get pending() {
      return running.size
    },
    async discard(leftover) {
      const removed = track(remove(leftover))
      track(
        removed.then(async () => {
          if (!leftover.uncertain || giveUp.signal.aborted) return
          await pause(options.secondLook, hurry.signal)
          await remove(leftover)
        }),
      ).catch(() => {})
      const answered = new AbortController()
      await Promise.race([removed, pause(options.answerWithin, answered.signal)])
      answered.abort()
    },
    async close(signal) {
      hurry.abort()
      const onAbort = (): void => giveUp.abort()
      if (signal.aborted) onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      while (running.size > 0) await Promise.all(running)
      signal.removeEventListener('abort', onAbort)
    },
  }
}

function unlessMissing(error: unknown): void {
  if (!(error instanceof S3Error && error.missing)) throw error
}
