import { type Duration, type Size, checkKnown, parseDuration, parseInteger, parseSize } from '@fastify-scale/kit'
import type { AssetsOptions } from './assets/options.ts'
import type { S3Credentials } from './client.ts'
import { StorageOptionError } from './errors.ts'
import {
  DEFAULT_KEYS,
  type ResolvedDefaults,
  type UploadDefaults,
  checkPartCount,
  pickDefaults,
  resolveDefaults,
} from './upload-options.ts'

export interface ScaleStorageOptions extends UploadDefaults {
  /** Name of the bucket; it must exist. */
  bucket: string
  /** Where the bucket is read from, a CDN or the bucket itself: `https://cdn.example.com`. All URLs are built from it; when it changes, see `formerBaseUrls`. */
  publicBaseUrl: string
  /**
   * What `publicBaseUrl` was before, as long as rows may hold URLs that begin with it: they are read as before, and keep their
   * objects from a sweep, which would take an object for lost where it asks only for its new URL. Default none.
   */
  formerBaseUrls?: readonly string[]
  /** Default `'us-east-1'`. */
  region?: string
  /** URL of an S3 server other than AWS. */
  endpoint?: string
  /** URL under which browsers reach that server, where it differs; for signed URLs and direct uploads. */
  publicEndpoint?: string
  /** Default: the AWS SDK's chain (environment, profile, instance role). */
  credentials?: S3Credentials
  /** Bucket in the path and not in the host name. Default: true where `endpoint` is set. */
  forcePathStyle?: boolean
  /** Set an ACL on each object, for servers where the bucket's policy does not decide who reads. Default false. */
  acl?: boolean
  /** How many uploads one process takes at once. Default 16. */
  maxConcurrentUploads?: number
  /** How long an upload may wait for a slot before it is refused with 503. Default 0: at once. */
  slotTimeout?: Duration
  /** Bytes of one part; memory is `maxConcurrentUploads` x `queueSize` x this. At least 5 MB, the default. */
  partSize?: Size
  /** Parts that one upload holds in memory, filling and in flight; twice as many while others need few. Default 2. */
  queueSize?: number
  /** For a connection to S3. Default 1 s. */
  connectionTimeout?: Duration
  /** For the answer of S3 to one request. Default 10 s. */
  requestTimeout?: Duration
  /** How often one request to S3 is tried. Default 3. */
  maxAttempts?: number
  /** How long the rest of a refused body is read and dropped so that the client sees the answer. Default 1 s. */
  drainTimeout?: Duration
  /** Register @fastify/multipart where it is not there yet. Default true; false to register it yourself, in any context. */
  multipart?: boolean
  /** Name of the decorator, and of the key in a route's `config`. Default `'storage'`. */
  decorator?: string
  /** Static assets: served from a directory in development, from S3 or a CDN in production. */
  assets?: AssetsOptions
}

export interface ResolvedOptions {
  bucket: string
  publicBaseUrl: string
  formerBaseUrls: readonly string[]
  region: string
  endpoint?: string
  publicEndpoint?: string
  credentials?: S3Credentials
  forcePathStyle: boolean
  acl: boolean
  maxConcurrentUploads: number
  slotTimeout: number
  partSize: number
  queueSize: number
  connectionTimeout: number
  requestTimeout: number
  maxAttempts: number
  drainTimeout: number
  multipart: boolean
  decorator: string
  defaults: ResolvedDefaults
  assets?: AssetsOptions
}

const MB = 1_024 ** 2
const OPTION_KEYS = [
  ...DEFAULT_KEYS,
  'bucket',
  'publicBaseUrl',
  'formerBaseUrls',
  'region',
  'endpoint',
  'publicEndpoint',
  'credentials',
  'forcePathStyle',
  'acl',
  'maxConcurrentUploads',
  'slotTimeout',
  'partSize',
  'queueSize',
  'connectionTimeout',
  'requestTimeout',
  'maxAttempts',
  'drainTimeout',
  'multipart',
  'decorator',
  'assets',
]

export const fail = (message: string): Error => new StorageOptionError(message)

/** Checks the plugin's options and fills in the defaults. @throws SCALE_STORAGE_OPTION */
export function resolveOptions(options: ScaleStorageOptions): ResolvedOptions {
  checkKnown(options, OPTION_KEYS, 'scaleStorage', fail)
  if (typeof options.bucket !== 'string' || !/^[a-z0-9A-Z][\w.:-]{1,254}$/.test(options.bucket))
    throw fail("option 'bucket' must be the name of a bucket, for example { bucket: 'photos' }")
  const partSize = parseSize(options.partSize ?? 5 * MB, { name: 'partSize', min: 5 * MB, max: 5_120 * MB, fail })
  const defaults = resolveDefaults(pickDefaults(options), {
    prefix: 'uploads',
    maxBytes: 25 * MB,
    visibility: 'public',
    idleTimeout: 30_000,
    minRate: 1_024,
  })
  checkPartCount(defaults.maxBytes, partSize)
  return {
    bucket: options.bucket,
    publicBaseUrl: baseUrl(options.publicBaseUrl, 'publicBaseUrl'),
    formerBaseUrls: baseUrls(options.formerBaseUrls ?? [], 'formerBaseUrls'),
    region: text(options.region ?? 'us-east-1', 'region'),
    endpoint: options.endpoint === undefined ? undefined : baseUrl(options.endpoint, 'endpoint'),
    publicEndpoint:
      options.publicEndpoint === undefined ? undefined : baseUrl(options.publicEndpoint, 'publicEndpoint'),
    credentials: credentials(options.credentials),
    forcePathStyle: flag(options.forcePathStyle ?? options.endpoint !== undefined, 'forcePathStyle'),
    acl: flag(options.acl ?? false, 'acl'),
    maxConcurrentUploads: parseInteger(options.maxConcurrentUploads ?? 16, { name: 'maxConcurrentUploads', fail }),
    slotTimeout: parseDuration(options.slotTimeout ?? 0, { name: 'slotTimeout', min: 0, fail }),
    partSize,
    queueSize: parseInteger(options.queueSize ?? 2, { name: 'queueSize', max: 100, fail }),
    connectionTimeout: parseDuration(options.connectionTimeout ?? 1_000, { name: 'connectionTimeout', fail }),
    requestTimeout: parseDuration(options.requestTimeout ?? 10_000, { name: 'requestTimeout', fail }),
    maxAttempts: parseInteger(options.maxAttempts ?? 3, { name: 'maxAttempts', max: 10, fail }),
    drainTimeout: parseDuration(options.drainTimeout ?? 1_000, { name: 'drainTimeout', fail }),
    multipart: flag(options.multipart ?? true, 'multipart'),
    decorator: text(options.decorator ?? 'storage', 'decorator'),
    defaults,
    assets: options.assets,
  }
}

function baseUrl(value: unknown, name: string): string {
  if (typeof value === 'string' && URL.canParse(value)) {
    const url = new URL(value)
    const plain = (url.protocol === 'https:' || url.protocol === 'http:') && !url.username && !url.password
    if (plain && !url.search && !url.hash) return url.href.replace(/\/+$/, '')
  }
  throw fail(
    `option '${name}' must be an http(s) URL without credentials, query or fragment, for example 'https://cdn.example.com'`,
  )
}

function baseUrls(value: unknown, name: string): string[] {
  if (!Array.isArray(value)) throw fail(`option '${name}' must be a list of URLs`)
  return value.map((one: unknown, index) => baseUrl(one, `${name}[${index}]`))
}

function credentials(value: S3Credentials | undefined): S3Credentials | undefined {
  if (value === undefined || typeof value === 'function') return value
  // Nothing of the value is shown.
  const { accessKeyId, secretAccessKey } = value ?? {}
  if (typeof accessKeyId === 'string' && accessKeyId && typeof secretAccessKey === 'string' && secretAccessKey)
    return { ...value }
  throw fail("option 'credentials' must be { accessKeyId, secretAccessKey } or a function that resolves to it")
}

function text(value: unknown, name: string): string {
  if (typeof value !== 'string' || value === '') throw fail(`option '${name}' must be a text that is not empty`)
  return value
}

function flag(value: unknown, name: string): boolean {
  if (typeof value !== 'boolean') throw fail(`option '${name}' must be true or false`)
  return value
}
