import { type Size, checkKnown, parseInteger, parseSize, show } from '@fastify-scale/kit'
import { isCompressible } from './content-type.ts'
import {
  ANSWER_LEVELS,
  type Encoding,
  LEVEL_BOUNDS,
  type Levels,
  VARIANT_LEVELS,
  isKnownEncoding,
  isSupported,
} from './encodings.ts'
import { OptionError, UnsupportedEncodingError } from './errors.ts'

/** What a route may set for itself in `config.compress`; the rest comes from the plugin's options. */
export interface RouteCompressOptions {
  /**
   * Encodings to offer, in the order of preference among those that a client likes equally. Default `['gzip']`.
   * `br` and `zstd` cost more for a dynamic body than the bytes they save are usually worth; `zstd` needs Node.js 22.15.
   */
  encodings?: readonly Encoding[]
  /** Bodies smaller than this are sent as they are, in bytes or as `'2KB'`. Default `'1KB'`. */
  threshold?: Size
  /** Levels for bodies that are compressed for one answer. Default `{ gzip: 1, br: 3, zstd: 3 }`. */
  levels?: Partial<Levels>
  /**
   * Flush a compressed stream whenever its source pauses, so that events and rows arrive when they are written.
   * `false` compresses a little better. Default `true`.
   */
  flush?: boolean
  /** Decides by the Content-Type which bodies are worth compressing. Default: text in all its forms (`isCompressible`). */
  compressible?: (contentType: string | undefined) => boolean
}

export interface CompressOptions extends RouteCompressOptions {
  /** Levels for bodies that are stored and sent many times (the cache uses them). Default `{ gzip: 6, br: 5, zstd: 9 }`. */
  variantLevels?: Partial<Levels>
  /** Bodies up to this size are compressed on the event loop, larger ones in the thread pool. `0`: all there. Default `'16KB'`. */
  syncLimit?: Size
  /**
   * Decompress request bodies (Content-Encoding `gzip`, `deflate`, `br`, `zstd` where Node.js has it), by
   * @fastify/compress, for routes that are added after the plugin was loaded. A route's `bodyLimit` counts decompressed
   * bytes. Default `false`.
   */
  requests?: boolean
}

/** A route's options, complete and checked. Sizes in bytes. */
export interface ResolvedRoute {
  readonly encodings: readonly Encoding[]
  readonly threshold: number
  readonly levels: Readonly<Levels>
  readonly flush: boolean
  readonly compressible: (contentType: string | undefined) => boolean
}

export interface ResolvedOptions {
  readonly route: ResolvedRoute
  readonly variantLevels: Readonly<Levels>
  readonly syncLimit: number
  readonly requests: boolean
}

const ROUTE_OPTIONS = ['encodings', 'threshold', 'levels', 'flush', 'compressible']
const OPTIONS = [...ROUTE_OPTIONS, 'variantLevels', 'syncLimit', 'requests']

const fail = (message: string): Error => new OptionError(message)

const DEFAULTS: ResolvedRoute = {
  encodings: ['gzip'],
  threshold: 1_024,
  levels: ANSWER_LEVELS,
  flush: true,
  compressible: isCompressible,
}

/** @throws SCALE_COMPRESS_OPTION, SCALE_COMPRESS_UNSUPPORTED_ENCODING */
export function resolveOptions(options: CompressOptions): ResolvedOptions {
  checkKnown(options, OPTIONS, '@fastify-scale/compress', fail)
  return {
    route: resolveValues(options, DEFAULTS, ''),
    variantLevels: resolveLevels(options.variantLevels, VARIANT_LEVELS, 'variantLevels'),
    syncLimit: parseSize(options.syncLimit ?? '16KB', { name: 'syncLimit', min: 0, fail }),
    requests: resolveFlag(options.requests ?? false, 'requests'),
  }
}

/**
 * The options of one route: what its `config.compress` says on top of the plugin's; `null` for `false`.
 *
 * @throws SCALE_COMPRESS_OPTION, SCALE_COMPRESS_UNSUPPORTED_ENCODING
 */
export function resolveRoute(value: unknown, base: ResolvedRoute): ResolvedRoute | null {
  if (value === undefined || value === true) return base
  if (value === false) return null
  if (typeof value !== 'object' || value === null)
    throw fail(`'config.compress' of a route must be false or an object of options, but is ${show(value)}`)
  checkKnown(value, ROUTE_OPTIONS, "a route's 'config.compress'", fail)
  return resolveValues(value, base, 'config.compress.')
}

function resolveValues(options: RouteCompressOptions, base: ResolvedRoute, prefix: string): ResolvedRoute {
  const compressible = options.compressible ?? base.compressible
  if (typeof compressible !== 'function')
    throw fail(`option '${prefix}compressible' must be a function of the content type`)
  return {
    encodings: options.encodings === undefined ? base.encodings : resolveEncodings(options.encodings, prefix),
    threshold: parseSize(options.threshold ?? base.threshold, { name: `${prefix}threshold`, min: 0, fail }),
    levels: resolveLevels(options.levels, base.levels, `${prefix}levels`),
    flush: resolveFlag(options.flush ?? base.flush, `${prefix}flush`),
    compressible,
  }
}

function resolveEncodings(encodings: readonly Encoding[], prefix: string): readonly Encoding[] {
  const known = Object.keys(LEVEL_BOUNDS).join(', ')
  if (!Array.isArray(encodings) || encodings.length === 0)
    throw fail(`option '${prefix}encodings' must be a list of at least one of ${known}`)
  for (const encoding of encodings) {
    if (!isKnownEncoding(encoding))
      throw fail(`option '${prefix}encodings' has '${String(encoding)}'; known are ${known}`)
    if (!isSupported(encoding))
      throw new UnsupportedEncodingError(
        `option '${prefix}encodings' has '${encoding}', which Node.js ${process.version} can't make: use Node.js 22.15 or later, or leave it out`,
      )
  }
  return [...new Set(encodings as readonly Encoding[])]
}

function resolveLevels(levels: Partial<Levels> | undefined, base: Readonly<Levels>, name: string): Levels {
  const resolved: Levels = { ...base }
  if (levels === undefined) return resolved
  if (typeof levels !== 'object' || levels === null) throw fail(`option '${name}' must be an object like { gzip: 1 }`)
  checkKnown(levels, Object.keys(LEVEL_BOUNDS), `option '${name}'`, fail)
  for (const encoding of Object.keys(levels) as Encoding[]) {
    const [min, max] = LEVEL_BOUNDS[encoding]
    const level = levels[encoding]
    if (level !== undefined) resolved[encoding] = parseInteger(level, { name: `${name}.${encoding}`, min, max, fail })
  }
  return resolved
}

function resolveFlag(value: boolean, name: string): boolean {
  if (typeof value !== 'boolean') throw fail(`option '${name}' must be true or false, but is ${String(value)}`)
  return value
}
