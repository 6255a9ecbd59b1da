import { addDrainStep, addReadinessCheck, refuseTaken } from '@fastify-scale/kit'
import type { FastifyBaseLogger, FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { AssetUrl } from './assets/asset-url.ts'
import { registerAssets } from './assets/register.ts'
import { abortDirectMultipart, type DirectMultipart, joinParts, signDirectMultipart } from './direct-multipart.ts'
import {
  type CompleteDirectUploadOptions,
  type DirectMultipartOptions,
  type DirectUploadOptions,
  checkUploadId,
  resolveComplete,
  resolveDirect,
  resolveDirectMultipart,
} from './direct-options.ts'
import { completePending, type CompletedFile, type DirectUpload, signDirectUpload } from './direct-upload.ts'
import { createRequestDrain } from './drain-request.ts'
import { type ScaleStorageOptions, fail, resolveOptions } from './options.ts'
import type { PutBody, PutOptions } from './put.ts'
import registerMultipart from './register-multipart.ts'
import type { UploadRequest } from './request.ts'
import type { SignedUrlOptions } from './signed-url.ts'
import { createStorage } from './storage.ts'
import { type SweepOptions, type SweepResult, sweep } from './sweep.ts'
import type { StoredFile } from './upload.ts'
import {
  type ResolvedDefaults,
  type UploadDefaults,
  type UploadManyOptions,
  type UploadOptions,
  resolveRoute,
} from './upload-options.ts'

/** `fastify.storage`. */
export interface ScaleStorage {
  /**
   * Stores the file of a request in S3 and returns its URL: a multipart form with one file, or a raw body where
   * `acceptRawBodies()` was called. Call it after you have decided that the user may upload.
   *
   * @throws 400 `SCALE_STORAGE_NO_FILE`, `_MALFORMED`, `_CLIENT_ABORTED`; 408 `_CLIENT_TIMEOUT`; 413 `_TOO_LARGE`,
   * `_TOO_MANY_FILES`, `_TOO_MANY_PARTS`; 415 `_TYPE_NOT_ALLOWED`, `_NOT_AN_UPLOAD`; 503 with Retry-After `_BUSY`,
   * `_UNAVAILABLE`, `_CLOSING`; and whatever `persist` throws. Nothing is left in S3 then.
   */
  upload(request: StorageRequest, options?: UploadOptions): Promise<StoredFile>
  /** Stores all files of a form, up to `maxFiles`: all of them or none. */
  upload(request: StorageRequest, options: UploadManyOptions): Promise<StoredFile[]>
  /**
   * Stores what the service itself has made (a thumbnail, a report), with the promises of `upload()`: the type is told from
   * the content, the size is limited, what `persist` does not save is removed, and no failure leaves anything in S3.
   * A stream is read at the pace of S3 and destroyed on failure.
   *
   * @throws 413 `SCALE_STORAGE_TOO_LARGE`; 415 `_TYPE_NOT_ALLOWED`; 503 `_BUSY`, `_UNAVAILABLE`, `_CLOSING`;
   * `_SOURCE_INCOMPLETE` for a stream that stalls or is closed too early; a stream's own error, the reason of `signal`, and
   * what `persist` throws
   */
  put(body: PutBody, options?: PutOptions): Promise<StoredFile>
  /** The public URL of a key. */
  url(key: string): string
  /**
   * Removes an object; one that is not there is no error.
   * @throws `SCALE_STORAGE_FOREIGN_URL` (400) for a URL or key that this storage did not make, `SCALE_STORAGE_UNAVAILABLE` (503)
   */
  delete(urlOrKey: string): Promise<void>
  /** A URL with which anybody can GET the object for `ttl`; for private objects. It is a secret. */
  signedUrl(urlOrKey: string, options?: SignedUrlOptions): Promise<string>
  /**
   * A form with which a browser sends one file straight to S3, bound to one key under `pending/`, one type and a largest size.
   * Decide before that the user may upload.
   */
  createDirectUpload(options?: DirectUploadOptions): Promise<DirectUpload>
  /** A large direct upload: one URL for each part, each bound to its length. */
  createDirectMultipart(options: DirectMultipartOptions): Promise<DirectMultipart>
  /**
   * Takes a direct upload, or one made by `upload(…, { pending: true })`, out of `pending/`: checks its size and content,
   * copies it to its final key and lets `persist` save the URL. Pass only keys that this user was given.
   *
   * @throws 404 `SCALE_STORAGE_NOT_FOUND`; 409 `_INCOMPLETE` where parts are missing, which can still be sent; 413 `_TOO_LARGE`, 415 `_TYPE_NOT_ALLOWED`, 422 `_CHECKSUM`, after which the pending object
   * is gone; 503 `_UNAVAILABLE` and what `persist` throws, after which it can be completed again
   */
  completeDirectUpload(key: string, options?: CompleteDirectUploadOptions): Promise<CompletedFile>
  /** Gives up a large direct upload and its parts. @throws 404 `SCALE_STORAGE_NOT_FOUND` for what is no pending key, `_OPTION` for no `uploadId` */
  abortDirectMultipart(key: string, uploadId: string): Promise<void>
  /** Finds, and deletes with `dryRun: false`, objects which no row of the application points to. */
  sweep(options: SweepOptions): Promise<SweepResult>
  /**
   * The URL of a static asset by its path in the assets directory, in development and production.
   * @throws `SCALE_STORAGE_UNKNOWN_ASSET` for a name that is not there
   */
  assetUrl: AssetUrl
}

/** What is used of a Fastify request; any `FastifyRequest`, whatever its type parameters. */
export interface StorageRequest extends UploadRequest {
  readonly log: FastifyBaseLogger
  readonly routeOptions: { readonly config: object }
}

declare module 'fastify' {
  interface FastifyInstance {
    storage: ScaleStorage
  }
  interface FastifyContextConfig {
    /** Defaults for the uploads of this route. */
    storage?: UploadDefaults
  }
}

async function scaleStorage(fastify: FastifyInstance, options: ScaleStorageOptions): Promise<void> {
  const resolved = resolveOptions(options)
  const { decorator } = resolved
  refuseTaken(fastify, decorator, 'decorator', fail)
  const engine = createStorage(resolved, fastify.log)
  const { deps } = engine
  const { presign } = engine.clients
  const drain = createRequestDrain(resolved.drainTimeout)
  const routes = new WeakMap<object, ResolvedDefaults>()

  if (resolved.multipart && !fastify.hasContentTypeParser('multipart/form-data'))
    await fastify.register(registerMultipart)

  function routeDefaults(config: object): ResolvedDefaults {
    const own = (config as Record<string, UploadDefaults | undefined>)[decorator]
    if (own === undefined) return resolved.defaults
    let known = routes.get(own)
    if (!known) {
      known = resolveRoute(own, resolved.defaults, String((config as { url?: unknown }).url))
      routes.set(own, known)
    }
    return known
  }

  function upload(request: StorageRequest, options?: UploadOptions): Promise<StoredFile>
  function upload(request: StorageRequest, options: UploadManyOptions): Promise<StoredFile[]>
  async function upload(
    request: StorageRequest,
    options: UploadOptions | UploadManyOptions = {},
  ): Promise<StoredFile | StoredFile[]> {
    try {
      const files = await engine.upload(request, options, routeDefaults(request.routeOptions.config), request.log)
      return options.maxFiles === undefined ? (files[0] as StoredFile) : files
    } catch (error) {
      drain(request.raw)
      throw error
    }
  }

  const storage: ScaleStorage = {
    upload,
    put: (body, options = {}) => engine.put(body, options),
    url: (key) => engine.urls.url(key),
    delete: (urlOrKey) => engine.delete(urlOrKey),
    signedUrl: (urlOrKey, signOptions) => engine.signedUrl(urlOrKey, signOptions),
    async createDirectUpload(options = {}) {
      const plan = resolveDirect(options, resolved.defaults)
      return engine.forCaller('signing a direct upload', () => signDirectUpload(deps, presign, plan))
    },
    async createDirectMultipart(options) {
      const plan = resolveDirectMultipart(options, resolved.defaults)
      return engine.forCaller('beginning a direct upload', () => signDirectMultipart(deps, presign, plan))
    },
    async completeDirectUpload(key, options = {}) {
      const { uploadId, ...plan } = resolveComplete(options, resolved.defaults)
      return engine.forCaller('completing a direct upload', async () => {
        if (uploadId !== undefined) await joinParts(deps, key, uploadId, plan)
        return completePending(deps, key, plan, (file) => options.persist?.(file))
      })
    },
    abortDirectMultipart: (key, uploadId) =>
      engine.forCaller('giving up a direct upload', async () => {
        checkUploadId(uploadId)
        await abortDirectMultipart(deps, key, uploadId)
      }),
    sweep: (options) => engine.forCaller('sweep', () => sweep(deps, options)),
    assetUrl: await registerAssets(fastify, resolved.assets, engine, decorator),
  }
  fastify.decorate(decorator, storage as FastifyInstance['storage'])

  // A wrong value in a route's config is found at start, not by the first upload.
  fastify.addHook('onRoute', function scaleStorageRoute(route) {
    routeDefaults({ ...route.config, url: route.url })
  })

  addReadinessCheck(fastify, {
    name: `${decorator}: bucket`,
    check: () => engine.check(),
    timeout: resolved.connectionTimeout + resolved.requestTimeout,
  })
  addDrainStep(fastify, { name: `${decorator}: uploads`, run: (context) => engine.drain(context) })
  fastify.addHook('onClose', async function scaleStorageClose() {
    engine.destroy()
  })
}

/**
 * Uploads that go to S3 and leave only a URL.
 */
const plugin: FastifyPluginAsync<ScaleStorageOptions> = fp(scaleStorage, {
  name: '@fastify-scale/storage',
  fastify: '5.x',
})
export default plugin
