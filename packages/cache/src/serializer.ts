import { promisify } from 'node:util'
import { deflateRaw, inflateRaw } from 'node:zlib'
import { type Entry, KIND, type Kind, ReadEntry } from './entry.ts'
import { CachedError, NotSerializableError } from './errors.ts'

/** Turns values into bytes and back. */
export interface Serializer {
  serialize(value: unknown): string | Buffer
  deserialize(bytes: Buffer): unknown
}

export const jsonSerializer: Serializer = {
  serialize: (value) => JSON.stringify(value),
  deserialize: (bytes) => JSON.parse(bytes.toString('utf8')) as unknown,
}

/** What goes into an entry's payload. */
export interface Packed {
  kind: Kind
  compressed: boolean
  payload: Buffer
}

const deflate = promisify(deflateRaw)
const inflate = promisify(inflateRaw)
const EMPTY = Buffer.alloc(0)

/** Packs values and unpacks entries. */
export class Packer {
  private readonly serializer: Serializer
  private readonly compressAbove: number

  /** @param compressAbove bytes from which on a payload is compressed; Infinity for never */
  constructor(serializer: Serializer, compressAbove: number) {
    this.serializer = serializer
    this.compressAbove = compressAbove
  }

  /** @throws SCALE_CACHE_NOT_SERIALIZABLE */
  async pack(value: unknown): Promise<Packed> {
    if (value === null) return { kind: KIND.null, compressed: false, payload: EMPTY }
    const kind = Buffer.isBuffer(value) ? KIND.buffer : KIND.serialized
    const payload = kind === KIND.buffer ? (value as Buffer) : this.serialize(value)
    if (payload.length < this.compressAbove) return { kind, compressed: false, payload }
    const smaller = await deflate(payload, { level: 1 })
    // What does not shrink by a tenth is not worth unpacking.
    return smaller.length < payload.length * 0.9
      ? { kind, compressed: true, payload: smaller }
      : { kind, compressed: false, payload }
  }

  /** Packs an error, to be thrown again. */
  packError(error: unknown): Packed {
    const { name, message, code, statusCode } = (error ?? {}) as Partial<Error> & {
      code?: unknown
      statusCode?: unknown
    }
    const payload = Buffer.from(JSON.stringify({ name, message: message ?? String(error), code, statusCode }))
    return { kind: KIND.error, compressed: false, payload }
  }

  /** A new value out of an entry; throws the error where the entry is one. */
  unpack(entry: Entry): unknown {
    if (entry.compressed) return inflate(entry.payload).then((payload) => this.open(entry.kind, payload))
    // Nearly all: JSON, straight from what Redis sent.
    if (entry.kind === KIND.serialized && this.serializer === jsonSerializer && entry instanceof ReadEntry)
      return JSON.parse(entry.text()) as unknown
    return this.open(entry.kind, entry.payload)
  }

  private open(kind: Kind, payload: Buffer): unknown {
    switch (kind) {
      case KIND.null:
        return null
      case KIND.error:
        throw toCachedError(payload)
      case KIND.buffer:
        return Buffer.from(payload)
      default:
        return this.serializer.deserialize(payload)
    }
  }

  private serialize(value: unknown): Buffer {
    let bytes: string | Buffer | undefined
    try {
      bytes = this.serializer.serialize(value)
    } catch (error) {
      throw new NotSerializableError(
        `the value can't be serialized: ${error instanceof Error ? error.message : String(error)}`,
      )
    }
    if (typeof bytes === 'string') return Buffer.from(bytes)
    if (Buffer.isBuffer(bytes)) return bytes
    throw new NotSerializableError(`the value can't be serialized: a ${typeof value} has no form in bytes`)
  }
}

function toCachedError(payload: Buffer): Error {
  const { name, message, code, statusCode } = JSON.parse(payload.toString()) as Record<string, unknown>
  const error = new CachedError(String(message))
  if (typeof name === 'string') error.name = name
  if (typeof code === 'string') error.code = code
  if (typeof statusCode === 'number') error.statusCode = statusCode
  return error
}

/** Freezes a value and all that hangs on it. Views of memory can't be frozen and are left. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value) || ArrayBuffer.isView(value)) return value
  Object.freeze(value)
  for (const key of Object.keys(value)) deepFreeze((value as Record<string, unknown>)[key])
  return value
}
