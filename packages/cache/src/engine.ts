import { corruptChannel } from './channels.ts'
import { type Entry, HEADER_BYTES, decodeEntry, encodeEntry, headerOf } from './entry.ts'
import type { Guard, GuardBook } from './guard.ts'
import type { Memory } from './l1.ts'
import { type Lease, acquireLease } from './lease.ts'
import type { LoopTurn } from './loop-turn.ts'
import type { Master } from './masters.ts'
import type { Placeholder } from './placeholders.ts'
import { Reading, allOf } from './reading.ts'
import type { Records } from './records.ts'
import { send } from './redis-port.ts'
import type { Packed } from './serializer.ts'
import type { Wakes } from './wake.ts'

/** A key as the engine knows it. */
export interface EngineKey {
  /** As the user wrote it, with its namespace; for messages. */
  readonly name: string
  readonly value: string
  readonly lease: string
  /** Tags that every entry of the key carries without saying so: its namespaces. */
  readonly implicit: readonly string[]
}

/** What is there for a key. `seen`: the header of an entry that can't be used. */
export interface Looked {
  state: 'fresh' | 'stale' | 'none'
  entry?: Entry
  seen?: Buffer
}

/** What is to be stored. Times in ms. */
export interface Fill extends Packed {
  tags: readonly string[]
  ttl: number
  staleWhileRevalidate: number
  staleIfError: number
}

export interface EngineParts extends Records {
  /** The same for `set` and for invalidations, over a port that is patient. */
  writes: Records
  book: GuardBook
  memory: Memory | undefined
  turn: LoopTurn
  wakes: Wakes
  leaseMs: number
}

/**
 * The protocol between the cache and Redis: look, begin a load under the lease, commit it. Knows entries, not values.
 */
export class Engine {
  readonly parts: EngineParts

  constructor(parts: EngineParts) {
    this.parts = parts
  }

  /**
   * Reads the key from Redis and judges what is there.
   *
   * @param tags the tags that the entry is likely to have, if it has any
   */
  async look(key: EngineKey, tags: readonly string[] = NONE): Promise<Looked> {
    const { memory, port } = this.parts
    const placeholder = memory?.open(key.value)
    try {
      const home = port.masters.of(key.value)
      const ahead = home.known ? this.ahead(key, tags, home) : undefined
      const raw = await send(port, key.value, (client) => client.getBuffer(key.value))
      if (raw === null) return NOTHING
      // What was asked ahead is of no use where a server has answered that was not known then.
      const valid = home.known && port.masters.of(key.value) === home
      const judged = this.judge(key, raw, placeholder, valid ? ahead : undefined)
      return judged instanceof Promise ? await judged : judged
    } catch (error) {
      // Not even a string: somebody else's.
      if (!isWrongType(error)) throw error
      return this.corrupt(key, Buffer.alloc(0), 'not a string')
    } finally {
      if (placeholder) memory?.close(key.value, placeholder)
    }
  }

  /** Says what an entry is good for, now; and keeps a fresh one in memory where that is allowed. */
  private judge(
    key: EngineKey,
    raw: Buffer,
    placeholder: Placeholder | undefined,
    ahead: Ahead | undefined,
  ): Looked | Promise<Looked> {
    const entry = decodeEntry(raw)
    if (typeof entry === 'string') return this.corrupt(key, raw, entry)
    const guards = this.guards(key, entry.tags, ahead)
    return guards instanceof Promise
      ? guards.then((known) => this.weigh(key, entry, known, placeholder))
      : this.weigh(key, entry, guards, placeholder)
  }

  private weigh(key: EngineKey, entry: Entry, guards: readonly Guard[], placeholder: Placeholder | undefined): Looked {
    if (!allows(guards, entry.clock, key.implicit, entry.tags)) return { state: 'none', seen: headerOf(entry) }
    const now = Date.now()
    if (now >= entry.freshUntil) return { state: 'stale', entry, seen: headerOf(entry) }
    if (placeholder) this.parts.memory?.keep(key.value, placeholder, entry, guards, now)
    return { state: 'fresh', entry }
  }

  private corrupt(key: EngineKey, raw: Buffer, reason: string): Looked {
    corruptChannel.publish(() => ({ key: key.name, reason }))
    return { state: 'none', seen: raw.subarray(0, HEADER_BYTES) }
  }

  /** Asks for the right to load. What it needs from Redis beside the lease is read before it resolves. */
  async begin(
    key: EngineKey,
    tags: readonly string[],
    seen: Buffer | undefined,
  ): Promise<{ type: 'value' } | { type: 'load'; load: Load } | { type: 'busy'; left: number }> {
    const { port, clock, leaseMs } = this.parts
    const all = key.implicit.length === 0 ? tags : [...key.implicit, ...tags]
    // Records before the clock: a record that begins now must not be above the load's reading.
    if (all.length > 0) await this.parts.tags.ensure(all)
    await this.parts.epoch.guard(key.value)
    const [acquired, reading] = await settleBoth(acquireLease(port, key, leaseMs, seen), clock.read(key.value))
    if (acquired.type === 'value') return { type: 'value' }
    if (acquired.type === 'busy') return acquired
    return { type: 'load', load: new Load(this, key, acquired.lease, reading) }
  }

  /** The entry that a fill makes, loaded at this reading of the clock. */
  entryOf(fill: Fill, reading: number): Entry {
    return {
      kind: fill.kind,
      compressed: fill.compressed,
      payload: fill.payload,
      clock: reading,
      // To the microsecond: the header tells one entry from the next.
      createdAt: performance.timeOrigin + performance.now(),
      freshUntil: Date.now() + fill.ttl,
      staleWhileRevalidate: fill.staleWhileRevalidate,
      staleIfError: fill.staleIfError,
      tags: fill.tags,
    }
  }

  /** The guards of an entry with these tags. */
  guards(key: EngineKey, tags: readonly string[], ahead?: Ahead): Promise<Guard[]> | Guard[] {
    const all = key.implicit.length === 0 ? tags : [...key.implicit, ...tags]
    if (ahead) {
      const { asked } = ahead
      return allOf(
        all.length === 0 || tags.every((tag) => ahead.tags.includes(tag))
          ? asked
          : [asked[0] as Reading, ...this.parts.tags.ask(all)],
      )
    }
    const epoch = this.parts.epoch.guard(key.value)
    if (all.length === 0) return epoch instanceof Promise ? epoch.then((guard) => [guard]) : [epoch]
    const rest = this.parts.tags.guards(all)
    if (!(epoch instanceof Promise) && !(rest instanceof Promise)) return [epoch, ...rest]
    return Promise.all([epoch, rest]).then(([guard, others]) => [guard, ...others])
  }

  /** Asks for the guards along with the value, where they are not in memory: one round trip instead of two. */
  private ahead(key: EngineKey, tags: readonly string[], home: Master): Ahead | undefined {
    const epoch = this.parts.epoch.ask(key.value, true)
    if (!(epoch instanceof Reading)) return undefined
    const { implicit } = key
    if (implicit.length === 0 && tags.length === 0) return { asked: [epoch], tags }
    return { asked: [epoch, ...this.parts.tags.ask(implicit.length === 0 ? tags : [...implicit, ...tags], home)], tags }
  }

  /** A change to a key that this process made itself: its own memory forgets at once. */
  forget(key: EngineKey): void {
    this.parts.memory?.drop(key.value)
    this.parts.wakes.wake(key.value)
  }
}

/** A load that holds the lease. It ends in `commit` or `abandon`. */
export class Load {
  /** The logical clock before the load began. */
  readonly reading: number
  private readonly engine: Engine
  private readonly key: EngineKey
  private readonly lease: Lease

  constructor(engine: Engine, key: EngineKey, lease: Lease, reading: number) {
    this.engine = engine
    this.key = key
    this.lease = lease
    this.reading = reading
  }

  /**
   * Stores the result. True where nothing it depends on was invalidated from before the load until after this call
   * began; false where something was, and the result must not be given to anyone who asked later than the load began.
   */
  async commit(entry: Entry, ttl: number): Promise<boolean> {
    const { epoch, tags } = this.engine.parts
    const all = [...this.key.implicit, ...entry.tags]
    try {
      const landed = await this.lease.fill(encodeEntry(entry), ttl)
      if (!landed) return false
      const guards = await this.engine.guards(this.key, entry.tags)
      if (allows(guards, entry.clock, this.key.implicit, entry.tags)) return true
      // A tag that only the loader knew may have no record yet: from now on it has.
      if (all.length > 0) await tags.ensure(all)
      await epoch.guard(this.key.value)
      return false
    } finally {
      this.engine.forget(this.key)
    }
  }

  /** Nothing is stored; another may load at once. */
  abandon(): void {
    this.lease.release()
    this.engine.parts.wakes.wake(this.key.value)
  }
}

function allows(
  guards: readonly Guard[],
  clock: number,
  implicit: readonly string[],
  tags: readonly string[],
): boolean {
  for (const guard of guards) if (!guard.allows(clock, tags) || !guard.allows(clock, implicit)) return false
  return true
}

const NOTHING: Looked = { state: 'none' }
const NONE: readonly string[] = []

/** Guards that were asked for before it was known which are needed. */
interface Ahead {
  asked: readonly (Guard | Reading)[]
  tags: readonly string[]
}

function isWrongType(error: unknown): boolean {
  return error instanceof Error && error.name === 'ReplyError' && error.message.startsWith('WRONGTYPE')
}

/** Like Promise.all, but when one fails a lease that the other got is given back. */
async function settleBoth<A extends { type: string; lease?: Lease }, B>(
  first: Promise<A>,
  second: Promise<B>,
): Promise<[A, B]> {
  const [a, b] = await Promise.allSettled([first, second])
  if (a.status === 'fulfilled' && b.status === 'fulfilled') return [a.value, b.value]
  if (a.status === 'fulfilled' && a.value.type === 'lease') a.value.lease?.release()
  throw a.status === 'rejected' ? a.reason : (b as PromiseRejectedResult).reason
}
