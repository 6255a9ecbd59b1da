import { LRUCache } from 'lru-cache'
import type { Entry } from './entry.ts'
import type { Guard } from './guard.ts'
import { type Placeholder, Placeholders } from './placeholders.ts'

/** An entry in process memory. */
export interface MemoryEntry {
  entry: Entry
  /** What vouches for it: the epoch and its tags' records. */
  guards: readonly Guard[]
  /** When it must be read again, by `performance.now()`. */
  until: number
  /** The value made of it, once it was asked for: frozen, shared by all callers. */
  settled: Promise<unknown> | undefined
  bytes: number
}

export interface MemoryOptions {
  /** Most bytes kept (of payloads; a parsed value takes more). */
  maxSize: number
  /** Longest time an entry is kept without being read from Redis again, in ms. */
  maxAge: number
}

/** Bytes counted for an entry beside its payload. */
const OVERHEAD = 512

/**
 * Process memory, bounded in bytes, least recently used out first. Honest only as long as the tracking link is: it is
 * told of every change, and nothing in it is used while the link is down.
 */
export class Memory {
  /** True while the tracking link vouches for what is here. */
  trusted = false
  private readonly entries: LRUCache<string, MemoryEntry>
  private readonly reads: Placeholders = new Placeholders()
  private readonly maxAge: number

  constructor(options: MemoryOptions) {
    this.maxAge = options.maxAge
    this.entries = new LRUCache({
      maxSize: options.maxSize,
      sizeCalculation: (held) => held.bytes,
    })
  }

  /** A value that is valid now, by all that Redis has told. */
  get(key: string, now: number): MemoryEntry | undefined {
    if (!this.trusted) return undefined
    const held = this.entries.get(key)
    if (held === undefined || held.until <= now) return undefined
    for (const guard of held.guards) if (!guard.alive) return undefined
    return held
  }

  /**
   * What was there last and is not known to have changed since: for when Redis is away, when nobody can say more, and the
   * loader fails.
   */
  lastKnown(key: string): Entry | undefined {
    const held = this.entries.peek(key)
    return held?.guards.some(({ changed }) => changed) ? undefined : held?.entry
  }

  /** Before a value is read from Redis. */
  open(key: string): Placeholder | undefined {
    return this.trusted ? this.reads.open(key) : undefined
  }

  /** After the answer. */
  close(key: string, placeholder: Placeholder | undefined): void {
    if (placeholder) this.reads.close(key, placeholder)
  }

  /** Keeps what was read, unless a change was told meanwhile. */
  keep(
    key: string,
    placeholder: Placeholder | undefined,
    entry: Entry,
    guards: readonly Guard[],
    wallNow: number,
  ): void {
    if (!placeholder?.alive || !this.trusted) return
    for (const guard of guards) if (!guard.alive) return
    const left = Math.min(this.maxAge, entry.freshUntil - wallNow)
    if (left <= 0) return
    this.entries.set(key, {
      entry: owned(entry),
      guards,
      until: performance.now() + left,
      settled: undefined,
      bytes: entry.payload.length + OVERHEAD,
    })
  }

  drop(key: string): void {
    this.reads.kill(key)
    this.entries.delete(key)
  }

  /** Redis was flushed. */
  flush(): void {
    this.reads.killAll()
    this.entries.clear()
  }

  /** The link is down: nothing is answered from here, and nothing of it once the link is back. */
  distrust(): void {
    this.trusted = false
    this.reads.killAll()
  }

  /** Bytes held. */
  get size(): number {
    return this.entries.calculatedSize
  }
}

/**
 * An entry whose bytes are its own: what came from Redis is a view of all that came with it, which would be kept in memory
 * along with it.
 */
function owned(entry: Entry): Entry {
  const { payload } = entry
  if (payload.buffer.byteLength <= payload.length + OVERHEAD) return entry
  const own = Buffer.allocUnsafeSlow(payload.length)
  payload.copy(own)
  const { kind, compressed, clock, createdAt, freshUntil, staleWhileRevalidate, staleIfError, tags } = entry
  return { kind, compressed, clock, createdAt, freshUntil, staleWhileRevalidate, staleIfError, tags, payload: own }
}
