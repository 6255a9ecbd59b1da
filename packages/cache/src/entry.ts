/**
 * The binary envelope of a stored value: a header of fixed size, the tags, the payload. Big endian.
 *
 *     0   2  magic 'S' 0xC1
 *     2   1  format version
 *     3   1  kind (low four bits), compressed (0x10)
 *     4   8  logical clock at the start of the load
 *    12   8  created, ms since 1970
 *    20   8  fresh until, ms since 1970 (`expire()` writes here)
 *    28   8  ms after that in which it may be served while one reloads
 *    36   8  ms after that in which it may be served where reloading fails
 *    44   2  number of tags; for each: 2 bytes of length, UTF-8
 *     …      payload
 */
export interface Entry {
  kind: Kind
  compressed: boolean
  clock: number
  createdAt: number
  freshUntil: number
  /** ms after `freshUntil`. */
  staleWhileRevalidate: number
  /** ms after `freshUntil`. */
  staleIfError: number
  tags: readonly string[]
  readonly payload: Buffer
}

/** An entry as it came from Redis: the payload is a view of the same memory, made when it is asked for. */
export class ReadEntry implements Entry {
  kind: Kind
  compressed: boolean
  clock: number
  createdAt: number
  freshUntil: number
  staleWhileRevalidate: number
  staleIfError: number
  tags: readonly string[]
  private readonly raw: Buffer
  private readonly start: number
  private view: Buffer | undefined

  constructor(raw: Buffer, kind: Kind, compressed: boolean, tags: readonly string[], start: number) {
    this.kind = kind
    this.compressed = compressed
    this.clock = raw.readDoubleBE(4)
    this.createdAt = raw.readDoubleBE(12)
    this.freshUntil = raw.readDoubleBE(FRESH_UNTIL_OFFSET)
    this.staleWhileRevalidate = raw.readDoubleBE(28)
    this.staleIfError = raw.readDoubleBE(36)
    this.tags = tags
    this.raw = raw
    this.start = start
    this.view = undefined
  }

  get payload(): Buffer {
    return (this.view ??= this.raw.subarray(this.start))
  }

  /** The payload as text: no view is made of it. */
  text(): string {
    return this.raw.toString('utf8', this.start)
  }
}

/** What the payload is. */
export type Kind = (typeof KIND)[keyof typeof KIND]
export const KIND = { serialized: 0, buffer: 1, null: 2, error: 3, response: 4 } as const

export const ENTRY_VERSION = 1
export const HEADER_BYTES = 46
/** Where `expire()` writes. */
export const FRESH_UNTIL_OFFSET = 20
const COMPRESSED = 0x10
const MAGIC = 0x53c1

/** Puts an entry into bytes. */
export function encodeEntry(entry: Entry): Buffer {
  const tags = entry.tags.map((tag) => Buffer.from(tag))
  let bytes = HEADER_BYTES
  for (const tag of tags) bytes += 2 + tag.length
  const buffer = Buffer.allocUnsafe(bytes + entry.payload.length)
  writeHeader(entry, buffer)
  let at = HEADER_BYTES
  for (const tag of tags) {
    buffer.writeUInt16BE(tag.length, at)
    tag.copy(buffer, at + 2)
    at += 2 + tag.length
  }
  entry.payload.copy(buffer, at)
  return buffer
}

/** The header alone: it tells this entry from another one under the same key. */
export function headerOf(entry: Entry): Buffer {
  const buffer = Buffer.allocUnsafe(HEADER_BYTES)
  writeHeader(entry, buffer)
  return buffer
}

function writeHeader(entry: Entry, buffer: Buffer): void {
  buffer.writeUInt16BE(MAGIC, 0)
  buffer[2] = ENTRY_VERSION
  buffer[3] = entry.kind | (entry.compressed ? COMPRESSED : 0)
  buffer.writeDoubleBE(entry.clock, 4)
  buffer.writeDoubleBE(entry.createdAt, 12)
  buffer.writeDoubleBE(entry.freshUntil, FRESH_UNTIL_OFFSET)
  buffer.writeDoubleBE(entry.staleWhileRevalidate, 28)
  buffer.writeDoubleBE(entry.staleIfError, 36)
  buffer.writeUInt16BE(entry.tags.length, 44)
}

/** Reads an entry. A text says why it is none of ours. */
export function decodeEntry(buffer: Buffer): ReadEntry | string {
  if (buffer.length < HEADER_BYTES || buffer.readUInt16BE(0) !== MAGIC) return 'not an entry'
  if (buffer[2] !== ENTRY_VERSION) return `entry version ${buffer[2]}`
  const flags = buffer[3] as number
  const kind = flags & 0x0f
  if (kind > KIND.response || (flags & ~(0x0f | COMPRESSED)) !== 0) return `entry kind ${flags}`
  const count = buffer.readUInt16BE(44)
  let at = HEADER_BYTES
  for (let i = 0; i < count; i++) {
    if (at + 2 > buffer.length) return 'truncated tags'
    at += 2 + buffer.readUInt16BE(at)
    if (at > buffer.length) return 'truncated tags'
  }
  const tags = count === 0 ? NO_TAGS : readTags(buffer, at)
  return new ReadEntry(buffer, kind as Kind, (flags & COMPRESSED) !== 0, tags, at)
}

const NO_TAGS: readonly string[] = []
/** The tags of entries that were read lately, by their bytes: one array for all that have the same. */
const sections: Map<string, readonly string[]> = new Map()
const MOST_SECTIONS = 1_000

function readTags(buffer: Buffer, end: number): readonly string[] {
  const section = buffer.toString('latin1', HEADER_BYTES, end)
  let tags = sections.get(section)
  if (tags) return tags
  const list: string[] = []
  for (let at = HEADER_BYTES; at < end; ) {
    const next = at + 2 + buffer.readUInt16BE(at)
    list.push(buffer.toString('utf8', at + 2, next))
    at = next
  }
  tags = Object.freeze(list)
  if (sections.size >= MOST_SECTIONS) sections.clear()
  sections.set(section, tags)
  return tags
}

/** True where a stale entry may be answered while one process reloads. */
export function mayRevalidate(entry: Entry, now: number): boolean {
  return now < entry.freshUntil + entry.staleWhileRevalidate
}

/** True where a stale entry may be answered because reloading failed. */
export function mayCoverError(entry: Entry, now: number): boolean {
  return now < entry.freshUntil + entry.staleIfError
}
