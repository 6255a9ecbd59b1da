import { randomBytes } from 'node:crypto'
import { DeleteObjectCommand } from '@aws-sdk/client-s3'
import { createBufferPool } from './buffers.ts'
import { uploadRefused } from './channels.ts'
import { type Cleanup, createCleanup } from './cleanup.ts'
import { type Clients, createClients, isTls } from './client.ts'
import { ClientAbortedError, SourceIncompleteError } from './errors.ts'
import type { ResolvedOptions } from './options.ts'
import { createPatience } from './patience.ts'
import { type PutBody, type PutOptions, putSource, resolvePut } from './put.ts'
import { checkBucket } from './readiness.ts'
import { type UploadRequest, sourceOf } from './request.ts'
import { createRuns } from './runs.ts'
import { type S3Call, S3Error, createS3Call, unavailable } from './s3-call.ts'
import { type SignedUrlOptions, signedGet } from './signed-url.ts'
import { type Slots, createSlots } from './slots.ts'
import type { StoredFile, UploadDeps } from './upload.ts'
import { type ResolvedDefaults, type UploadManyOptions, type UploadOptions, resolveCall } from './upload-options.ts'
import { type Urls, createUrls } from './urls.ts'

/** What is used of a pino-like logger. */
export interface StorageLog {
  warn(details: object, message: string): void
  error(details: object, message: string): void
}

/** The engine behind the plugin; knows nothing of Fastify. */
export interface StorageEngine {
  readonly urls: Urls
  readonly slots: Slots
  readonly clients: Clients
  readonly call: S3Call
  readonly cleanup: Cleanup
  readonly deps: UploadDeps
  /** Uploads that are not answered yet. */
  readonly active: number
  upload(
    request: UploadRequest,
    options: UploadOptions | UploadManyOptions,
    defaults: ResolvedDefaults,
    log: StorageLog,
  ): Promise<StoredFile[]>
  put(body: PutBody, options: PutOptions): Promise<StoredFile>
  delete(urlOrKey: string): Promise<void>
  signedUrl(urlOrKey: string, options?: SignedUrlOptions): Promise<string>
  check(): Promise<void>
  /** Runs an S3 request for a caller: its failure becomes a 503 that tells nothing, and a log line that tells why. */
  forCaller<T>(what: string, work: () => Promise<T>): Promise<T>
  /**
   * Waits until no upload runs. Ends those that still do when most of the budget is used up, so that there is time to remove
   * what they left, and gives up that too on the signal.
   */
  drain(context: { budget: number; signal: AbortSignal }): Promise<void>
  destroy(): void
}

export function createStorage(options: ResolvedOptions, log: StorageLog): StorageEngine {
  const { bucket, requestTimeout, connectionTimeout, maxAttempts, maxConcurrentUploads, queueSize } = options
  const clients = createClients({ ...options, maxSockets: Math.max(50, maxConcurrentUploads * queueSize * 2) })
  const { s3, brief, presign } = clients
  const call = createS3Call((requestTimeout + connectionTimeout) * maxAttempts + 1_000)
  const urls = createUrls(options.publicBaseUrl, options.formerBaseUrls)
  const pool = createBufferPool(options.partSize, maxConcurrentUploads * queueSize, 5_000)
  const slots = createSlots(maxConcurrentUploads, options.slotTimeout, (active) =>
    uploadRefused.publish(() => ({ active })),
  )
  const cleanup = createCleanup({
    s3,
    call,
    bucket,
    answerWithin: 1_000,
    secondLook: Math.min(requestTimeout, 10_000),
    giveUpAfter: 300_000,
    onLeftBehind: (key, reason) =>
      log.warn(
        { key, reason },
        'storage: what an upload left could not be removed; the lifecycle rule or a sweep will',
      ),
  })
  const deps: UploadDeps = {
    s3,
    brief,
    call,
    bucket,
    urls,
    pool,
    queueSize,
    // Over TLS nobody can change it on its way.
    signPayload: !isTls(options.endpoint),
    requestTimeout,
    cleanup,
    acl: options.acl,
    now: Date.now,
    random: () => randomBytes(16),
  }
  const runs = createRuns({ slots, deps, onS3Error: (error, to) => translate(error, 'upload', to) })

  async function runUpload(
    request: UploadRequest,
    callOptions: UploadOptions | UploadManyOptions,
    defaults: ResolvedDefaults,
    uploadLog: StorageLog,
    stop: AbortController,
  ): Promise<StoredFile[]> {
    const { plan, idleTimeout, minRate } = resolveCall(callOptions, defaults, options.partSize)
    const onClose = (): void => {
      if (!request.raw.complete) stop.abort(new ClientAbortedError('the client went away before the upload was whole'))
    }
    request.raw.once('close', onClose)
    const patience = createPatience({ idleTimeout, minRate, signal: stop.signal })
    try {
      if (request.raw.destroyed) onClose()
      return await runs.store(
        {
          plan,
          patience,
          source: () => sourceOf(request, { ...plan, part: callOptions.part }, patience),
          async persist(stored, fields) {
            if (callOptions.maxFiles === undefined) await callOptions.persist?.(stored[0] as StoredFile, fields)
            else await callOptions.persist?.(stored, fields)
          },
          to: uploadLog,
        },
        stop,
      )
    } finally {
      request.raw.off('close', onClose)
    }
  }

  async function runPut(body: PutBody, putOptions: PutOptions, stop: AbortController): Promise<StoredFile[]> {
    const source = putSource(body, putOptions.contentType)
    const { signal, persist } = putOptions
    const onAbort = (): void => stop.abort(signal?.reason)
    try {
      const { plan, idleTimeout, slotTimeout } = resolvePut(putOptions, options.defaults, options.partSize)
      signal?.addEventListener('abort', onAbort, { once: true })
      if (signal?.aborted) onAbort()
      const patience = createPatience({
        idleTimeout,
        minRate: 0,
        signal: stop.signal,
        late: () => new SourceIncompleteError('the stream given to put() stalled'),
      })
      return await runs.store(
        {
          plan,
          slotWait: slotTimeout,
          patience,
          source: () => source.read(patience),
          persist: (stored) => persist?.(stored[0] as StoredFile),
          to: log,
        },
        stop,
      )
    } finally {
      if (signal instanceof AbortSignal) signal.removeEventListener('abort', onAbort)
      source.destroy()
    }
  }

  /** What S3 and the SDK throw stays here: only names go to the log, and nothing to the client. */
  function translate(error: S3Error, what: string, to: StorageLog): Error {
    to.error({ s3: error.failure, bucket }, `storage: ${what} failed`)
    return unavailable()
  }

  async function forCaller<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw error instanceof S3Error ? translate(error, what, log) : error
    }
  }

  return {
    urls,
    slots,
    clients,
    call,
    cleanup,
    deps,
    forCaller,
    get active() {
      return runs.active
    },
    upload: (request, callOptions, defaults, uploadLog) =>
      runs.track((stop) => runUpload(request, callOptions, defaults, uploadLog, stop)),
    async put(body, putOptions) {
      const [file] = await runs.track((stop) => runPut(body, putOptions, stop))
      return file as StoredFile
    },
    async delete(urlOrKey) {
      const key = urls.keyOf(urlOrKey)
      await forCaller('delete', () => call((o) => s3.send(new DeleteObjectCommand({ Bucket: bucket, Key: key }), o)))
    },
    async signedUrl(urlOrKey, signOptions) {
      const key = urls.keyOf(urlOrKey)
      return forCaller('signing a URL', () => signedGet(presign, bucket, key, signOptions))
    },
    check: () => checkBucket(s3, call, bucket, options.endpoint ?? `AWS ${options.region}`),
    async drain(context) {
      await runs.drain(context)
      await cleanup.close(context.signal)
    },
    destroy() {
      runs.close()
      pool.close()
      clients.destroy()
    },
  }
}
