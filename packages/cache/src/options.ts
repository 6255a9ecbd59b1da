import {
  type Duration,
  type RedisSource,
  type Size,
  checkKnown,
  parseDuration,
  parseInteger,
  parseSize,
  show,
} from '@fastify-scale/kit'
import { OptionError, failOption } from './errors.ts'
import { type Serializer, jsonSerializer } from './serializer.ts'

/** How long a value lives, and what it hangs on. Given at registration as defaults, and with each call. */
export interface EntryOptions {
  /** How long a value is fresh. 0 answers the loader's value without caching it. Default `'60s'`. */
  ttl?: Duration
  /** How long `null` is fresh. Default: as `ttl`. */
  nullTtl?: Duration
  /** How long a loader's error is kept and thrown again; 0: not at all. Default 0. */
  errorTtl?: Duration
  /** After its ttl a value is still answered for this long while one process reloads it (RFC 5861). Default 0. */
  staleWhileRevalidate?: Duration
  /** After its ttl a value is still answered for this long where the loader fails (RFC 5861). Default 0. */
  staleIfError?: Duration
}

export interface MemoryOption {
  /** Most bytes kept in the process. Default `'64MB'`. */
  maxSize?: Size
  /** A value is read from Redis again after this long, whatever its ttl. Default `'60s'`. */
  maxAge?: Duration
  /**
   * `'frozen'`: callers share one deeply frozen value. `'cloned'`: each gets a copy of its own, made from the bytes.
   * Default `'frozen'`.
   */
  values?: 'frozen' | 'cloned'
  /**
   * How long `delete`, `expire`, `invalidateTags` and `clear` wait after Redis has carried them out, so that its
   * messages have reached the memory of every process before they resolve. Default 3 ms.
   */
  settle?: Duration
}

export interface ScaleCacheOptions extends EntryOptions {
  /** An ioredis client (`Redis` or `Cluster`), a URL, or ioredis options. Default: `fastify.redis` of @fastify/redis. */
  redis?: RedisSource
  /** What every key in Redis begins with; no braces. Default `'scale:cache'`. */
  prefix?: string
  /** The name under which the cache is on the Fastify instance. Default `'cache'`. */
  decorator?: string
  /** Shortens each ttl by a random part of up to this share, so that what was cached together does not end together. Default 0.1. */
  jitter?: number
  /** The release's version of what loaders return: values of another version are not seen, deletes reach all versions. Default none. */
  version?: string
  /** Longest time each step of a read waits for Redis. Default 100 ms. */
  commandTimeout?: Duration
  /**
   * Longest time each step of `set`, `delete`, `expire`, `invalidateTags` and `clear` waits for Redis, and for a lost
   * connection, as nothing can stand in for them. Default 1 s, or `commandTimeout` where that is more.
   */
  invalidateTimeout?: Duration
  /** Longest time a loader may take. Default `'30s'`. */
  loaderTimeout?: Duration
  /** How long a process that died in a load keeps others waiting. Default `'3s'`. */
  lease?: Duration
  /** Loaders at once in this process while Redis is away; more wait their turn. Default 32. */
  maxLoaders?: number
  /** Larger values are answered and not cached. Default `'5MB'`. */
  maxValueSize?: Size
  /** Values of at least this size are compressed in Redis; `false`: never. Default `false`. */
  compressAbove?: Size | false
  /** Turns values into bytes; Buffers are stored as they are. Default JSON. */
  serializer?: Serializer
  /** Values in process memory, kept honest by Redis (CLIENT TRACKING); `false`: every read asks Redis. */
  l1?: MemoryOption | false
}

/** Entry options in ms. */
export interface ResolvedEntryOptions {
  ttl: number
  nullTtl: number | undefined
  errorTtl: number
  staleWhileRevalidate: number
  staleIfError: number
}

export interface ResolvedOptions {
  prefix: string
  decorator: string
  entry: ResolvedEntryOptions
  jitter: number
  version: string | undefined
  commandTimeout: number
  invalidateTimeout: number
  loaderTimeout: number
  lease: number
  maxLoaders: number
  maxValueSize: number
  compressAbove: number
  serializer: Serializer
  l1: { maxSize: number; maxAge: number; values: 'frozen' | 'cloned'; settle: number } | undefined
}

const ENTRY_NAMES = ['ttl', 'nullTtl', 'errorTtl', 'staleWhileRevalidate', 'staleIfError'] as const
const NAMES = [
  ...ENTRY_NAMES,
  'redis',
  'prefix',
  'decorator',
  'jitter',
  'version',
  'commandTimeout',
  'invalidateTimeout',
  'loaderTimeout',
  'lease',
  'maxLoaders',
  'maxValueSize',
  'compressAbove',
  'serializer',
  'l1',
] as const

/** A year: longer is a mistake, and `Infinity` is refused with it. */
const LONGEST = 366 * 86_400_000

const DEFAULTS: ResolvedEntryOptions = {
  ttl: 60_000,
  nullTtl: undefined,
  errorTtl: 0,
  staleWhileRevalidate: 0,
  staleIfError: 0,
}

/**
 * Checks the options and fills in the defaults. The caller's object is left as it is.
 *
 * @throws SCALE_CACHE_OPTION
 */
export function resolveOptions(options: ScaleCacheOptions): ResolvedOptions {
  checkKnown(options, NAMES, '@fastify-scale/cache', failOption)
  const duration = (name: string, value: Duration, min = 1): number =>
    parseDuration(value, { name, min, max: LONGEST, fail: failOption })
  const prefix = options.prefix ?? 'scale:cache'
  if (typeof prefix !== 'string' || prefix === '' || /[{}\s]/.test(prefix))
    throw new OptionError(`option 'prefix' must be a text without braces and white space, but is ${show(prefix)}`)
  const decorator = options.decorator ?? 'cache'
  if (typeof decorator !== 'string' || decorator === '')
    throw new OptionError(`option 'decorator' must be a text, but is ${show(decorator)}`)
  const jitter = options.jitter ?? 0.1
  if (typeof jitter !== 'number' || !(jitter >= 0 && jitter <= 0.5))
    throw new OptionError(`option 'jitter' must be a number from 0 to 0.5, but is ${show(jitter)}`)
  const { version } = options
  if (version !== undefined && (typeof version !== 'string' || !/^[\w.+-]{1,64}$/.test(version)))
    throw new OptionError(`option 'version' must be 1 to 64 letters, digits or .+-_, but is ${show(version)}`)
  const serializer = options.serializer ?? jsonSerializer
  if (typeof serializer?.serialize !== 'function' || typeof serializer.deserialize !== 'function')
    throw new OptionError("option 'serializer' must have the functions serialize and deserialize")
  const commandTimeout = duration('commandTimeout', options.commandTimeout ?? 100, 5)
  return {
    prefix,
    decorator,
    entry: resolveEntryOptions(pick(options), DEFAULTS),
    jitter,
    version,
    commandTimeout,
    invalidateTimeout: duration('invalidateTimeout', options.invalidateTimeout ?? Math.max(1_000, commandTimeout), 5),
    loaderTimeout: duration('loaderTimeout', options.loaderTimeout ?? '30s'),
    lease: duration('lease', options.lease ?? '3s', 100),
    maxLoaders: parseInteger(options.maxLoaders ?? 32, { name: 'maxLoaders', fail: failOption }),
    maxValueSize: parseSize(options.maxValueSize ?? '5MB', { name: 'maxValueSize', fail: failOption }),
    compressAbove:
      options.compressAbove === false || options.compressAbove === undefined
        ? Number.POSITIVE_INFINITY
        : parseSize(options.compressAbove, { name: 'compressAbove', fail: failOption }),
    serializer,
    l1: options.l1 === false ? undefined : resolveMemory(options.l1 ?? {}),
  }
}

/**
 * Checks the options of one call against the defaults.
 *
 * @throws SCALE_CACHE_OPTION
 */
export function resolveEntryOptions(options: EntryOptions, defaults: ResolvedEntryOptions): ResolvedEntryOptions {
  const resolved = { ...defaults }
  for (const name of ENTRY_NAMES) {
    const value = options[name]
    if (value !== undefined) resolved[name] = parseDuration(value, { name, min: 0, max: LONGEST, fail: failOption })
  }
  return resolved
}

function resolveMemory(options: MemoryOption): NonNullable<ResolvedOptions['l1']> {
  if (typeof options !== 'object' || options === null)
    throw new OptionError(`option 'l1' must be an object or false, but is ${show(options)}`)
  checkKnown(options, ['maxSize', 'maxAge', 'values', 'settle'], "option 'l1'", failOption)
  const values = options.values ?? 'frozen'
  if (values !== 'frozen' && values !== 'cloned')
    throw new OptionError(`option 'l1.values' must be 'frozen' or 'cloned', but is ${show(values)}`)
  return {
    maxSize: parseSize(options.maxSize ?? '64MB', { name: 'l1.maxSize', fail: failOption }),
    maxAge: parseDuration(options.maxAge ?? '60s', { name: 'l1.maxAge', max: LONGEST, fail: failOption }),
    values,
    settle: parseDuration(options.settle ?? 3, { name: 'l1.settle', min: 0, max: 1_000, fail: failOption }),
  }
}

function pick(options: EntryOptions): EntryOptions {
  return Object.fromEntries(ENTRY_NAMES.map((name) => [name, options[name]]))
}
