import zlib from 'node:zlib'

/** Content codings that this package makes (RFC 9110, 8.4.1; RFC 7932; RFC 8878). */
export type Encoding = 'gzip' | 'br' | 'zstd'

/** A compression level for each encoding. */
export type Levels = Record<Encoding, number>

/** For a body that is compressed once and sent once: CPU time counts. */
export const ANSWER_LEVELS: Readonly<Levels> = { gzip: 1, br: 3, zstd: 3 }

/** For a body that is compressed once and sent many times: bytes count. */
export const VARIANT_LEVELS: Readonly<Levels> = { gzip: 6, br: 5, zstd: 9 }

/** Lowest and highest level of each encoding. */
export const LEVEL_BOUNDS: Readonly<Record<Encoding, readonly [min: number, max: number]>> = {
  gzip: [1, 9],
  br: [0, 11],
  zstd: [1, 22],
}

/** A compressing stream that can be flushed in the middle. */
export type Encoder = (zlib.Gzip | zlib.BrotliCompress) & { flush(kind: number, callback?: () => void): void }

type Callback = (error: Error | null, encoded: Buffer) => void

interface Codec {
  sync: (body: Buffer, level: number) => Buffer
  async: (body: Buffer, level: number, callback: Callback) => void
  stream: (level: number) => Encoder
  /** What makes the encoder give out all it holds, so that the receiver can decode all that was written. */
  flushKind: number
}

const constants = zlib.constants as typeof zlib.constants & Record<string, number>

const gzip: Codec = {
  sync: (body, level) => zlib.gzipSync(body, { level }),
  async: (body, level, callback) => zlib.gzip(body, { level }, callback),
  stream: (level) => zlib.createGzip({ level }),
  flushKind: constants.Z_SYNC_FLUSH,
}

// Never without a quality: setting only the mode would fall back to 11, the slowest.
const brotliParams = (level: number, size?: number): zlib.BrotliOptions => ({
  params: {
    [constants.BROTLI_PARAM_QUALITY]: level,
    [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT,
    ...(size === undefined ? undefined : { [constants.BROTLI_PARAM_SIZE_HINT]: size }),
  },
})
const br: Codec = {
  sync: (body, level) => zlib.brotliCompressSync(body, brotliParams(level, body.length)),
  async: (body, level, callback) => zlib.brotliCompress(body, brotliParams(level, body.length), callback),
  stream: (level) => zlib.createBrotliCompress(brotliParams(level)),
  flushKind: constants.BROTLI_OPERATION_FLUSH,
}

/** Node.js 22.15, 23.8 and later have these. */
interface ZstdZlib {
  zstdCompressSync?: (body: Buffer, options: object) => Buffer
  zstdCompress?: (body: Buffer, options: object, callback: (error: Error | null, result: Buffer) => void) => void
  createZstdCompress?: (options: object) => Encoder
}

function zstdCodec(): Codec | undefined {
  const { zstdCompressSync, zstdCompress, createZstdCompress } = zlib as ZstdZlib
  if (!zstdCompressSync || !zstdCompress || !createZstdCompress) return undefined
  const params = (level: number): object => ({ params: { [constants['ZSTD_c_compressionLevel'] as number]: level } })
  return {
    sync: (body, level) => zstdCompressSync(body, params(level)),
    async: (body, level, callback) => zstdCompress(body, params(level), callback),
    stream: (level) => createZstdCompress(params(level)),
    flushKind: constants['ZSTD_e_flush'] as number,
  }
}

const codecs: Record<Encoding, Codec | undefined> = { gzip, br, zstd: zstdCodec() }

/** True for a name that this package knows, whether or not this Node.js can make it. */
export function isKnownEncoding(name: unknown): name is Encoding {
  return typeof name === 'string' && Object.hasOwn(codecs, name)
}

/** True where this Node.js can make the encoding. */
export function isSupported(encoding: Encoding): boolean {
  return codecs[encoding] !== undefined
}

/** The codec of an encoding that `isSupported`. */
export function codecOf(encoding: Encoding): Codec {
  return codecs[encoding] as Codec
}
