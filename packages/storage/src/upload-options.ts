import type { MultipartFile } from '@fastify/multipart'
import { type Duration, type Size, checkKnown, parseDuration, parseInteger, parseSize } from '@fastify-scale/kit'
import { StorageOptionError } from './errors.ts'
import { isPrefix } from './keys.ts'
import type { StoredFile, UploadPlan, UploadProgress, Visibility } from './upload.ts'

/** What can be set for all uploads, for one route (`config: { storage: … }`) and for one call; the nearest wins. */
export interface UploadDefaults {
  /** First part of the key: path segments of letters, digits, `_`, `-`, `.`. Default `'uploads'`. */
  prefix?: string
  /** Largest file. Default 25 MB. */
  maxBytes?: Size
  /** Types told from the content: `'image/png'`, `'image/*'` (without SVG, which must be named). Default: any. */
  allowedTypes?: readonly string[]
  /** `'private'` objects live under `private/` and are read by `signedUrl()`. Default `'public'`. */
  visibility?: Visibility
  /** How long the client may send nothing, or less than `minRate`. Default 30 s. */
  idleTimeout?: Duration
  /** Bytes per second below which a client counts as idle. 0 to turn off. Default 1 KB. */
  minRate?: Size
}

interface UploadCall extends UploadDefaults {
  /** Called while the file comes in. */
  onProgress?: (progress: UploadProgress) => void
  /** Store under `pending/`, where a lifecycle rule removes it after a day unless `completeDirectUpload()` takes it out. */
  pending?: boolean
}

/** Options of `upload()` for one file. */
export interface UploadOptions extends UploadCall {
  maxFiles?: undefined
  /** A part that was taken from the form by `request.file()` or `request.parts()`, to store just that. */
  part?: MultipartFile
  /**
   * Saves the URL. Called when the file is in S3 and the form was read to its end; if it throws, the object is removed and the
   * error passed on, so it must throw only where nothing was saved.
   */
  persist?: (file: StoredFile, fields: URLSearchParams) => unknown
}

/** Options of `upload()` for several files. */
export interface UploadManyOptions extends UploadCall {
  /** How many files the form may have. */
  maxFiles: number
  part?: undefined
  /** Saves the URLs, all or none: if it throws, all objects are removed. */
  persist?: (files: StoredFile[], fields: URLSearchParams) => unknown
}

/** UploadDefaults, parsed. */
export interface ResolvedDefaults {
  prefix: string
  maxBytes: number
  allowedTypes?: readonly string[]
  visibility: Visibility
  idleTimeout: number
  minRate: number
}

/** S3's limit on the number of parts. */
const MAX_PARTS = 10_000

/** Names of what is in `UploadDefaults`. */
export const DEFAULT_KEYS: readonly (keyof UploadDefaults)[] = [
  'prefix',
  'maxBytes',
  'allowedTypes',
  'visibility',
  'idleTimeout',
  'minRate',
]
const CALL_KEYS = [...DEFAULT_KEYS, 'onProgress', 'pending', 'maxFiles', 'part', 'persist']

const fail = (message: string): Error => new StorageOptionError(message)

/** Checks what a route's config or a call sets, on top of what is around it. @throws SCALE_STORAGE_OPTION */
export function resolveDefaults(options: UploadDefaults, base: ResolvedDefaults): ResolvedDefaults {
  const prefix = options.prefix ?? base.prefix
  if (typeof prefix !== 'string' || !isPrefix(prefix))
    throw fail(
      "option 'prefix' must be path segments of letters, digits, '_', '-' and '.', like 'avatars' or 'team/docs', and not begin with pending/ or private/",
    )
  const visibility = options.visibility ?? base.visibility
  if (visibility !== 'public' && visibility !== 'private')
    throw fail("option 'visibility' must be 'public' or 'private'")
  const allowedTypes = options.allowedTypes ?? base.allowedTypes
  if (allowedTypes !== undefined && !(Array.isArray(allowedTypes) && allowedTypes.every(isTypePattern)))
    throw fail("option 'allowedTypes' must be a list of types like 'image/png' or 'image/*'")
  return {
    prefix,
    visibility,
    allowedTypes: allowedTypes === undefined ? undefined : [...allowedTypes],
    maxBytes: parseSize(options.maxBytes ?? base.maxBytes, { name: 'maxBytes', fail }),
    idleTimeout: parseDuration(options.idleTimeout ?? base.idleTimeout, {
      name: 'idleTimeout',
      max: 2 ** 31 - 1,
      fail,
    }),
    minRate: parseSize(options.minRate ?? base.minRate, { name: 'minRate', min: 0, fail }),
  }
}

/** What one call decides. @throws SCALE_STORAGE_OPTION */
export function resolveCall(
  options: UploadOptions | UploadManyOptions,
  base: ResolvedDefaults,
  partSize: number,
): { plan: UploadPlan; idleTimeout: number; minRate: number } {
  checkKnown(options, CALL_KEYS, 'upload()', fail)
  const own = resolveDefaults(options, base)
  checkPartCount(own.maxBytes, partSize)
  if (options.pending !== undefined && typeof options.pending !== 'boolean')
    throw fail("option 'pending' must be true or false")
  if (options.part !== undefined && options.maxFiles !== undefined)
    throw fail("options 'part' and 'maxFiles' of upload() exclude each other: a part is one file")
  return {
    plan: {
      prefix: own.prefix,
      maxBytes: own.maxBytes,
      allowedTypes: own.allowedTypes,
      visibility: own.visibility,
      pending: options.pending ?? false,
      maxFiles: parseInteger(options.maxFiles ?? 1, { name: 'maxFiles', max: 1_000, fail }),
      onProgress: options.onProgress,
    },
    idleTimeout: own.idleTimeout,
    minRate: own.minRate,
  }
}

/** Checks a route's `config`. @throws SCALE_STORAGE_OPTION */
export function resolveRoute(options: UploadDefaults, base: ResolvedDefaults, url: string): ResolvedDefaults {
  checkKnown(options, DEFAULT_KEYS, `config.storage of route ${url}`, fail)
  return resolveDefaults(options, base)
}

/** Only what is in `UploadDefaults`. */
export function pickDefaults(options: UploadDefaults): UploadDefaults {
  return Object.fromEntries(DEFAULT_KEYS.map((key) => [key, options[key]]))
}

/** @throws SCALE_STORAGE_OPTION where a file of that size has more parts than S3 takes */
export function checkPartCount(maxBytes: number, partSize: number): void {
  if (maxBytes > partSize * MAX_PARTS)
    throw fail(
      `option 'maxBytes' is more than ${MAX_PARTS} parts of 'partSize', which is what S3 allows: make partSize at least ${Math.ceil(maxBytes / MAX_PARTS)}`,
    )
}

function isTypePattern(type: unknown): boolean {
  return typeof type === 'string' && /^(\*|\*\/\*|[a-z0-9.+-]+\/(\*|[a-z0-9.+-]+))$/.test(type)
}
