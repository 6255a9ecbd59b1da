import { retryWithin, show } from '@fastify-scale/kit'
import type { Engine, EngineKey, Looked } from './engine.ts'
import { KIND, encodeEntry } from './entry.ts'
import { ClosedError, OptionError, TooLargeError, UnavailableError } from './errors.ts'
import { Filler, keepOf } from './filler.ts'
import { type KeySpace, encodeKey } from './key.ts'
import type { Loader } from './loader.ts'
import { expireScript } from './lua/expire.lua.ts'
import { putScript } from './lua/put.lua.ts'
import { type EntryOptions, type ResolvedOptions, resolveEntryOptions } from './options.ts'
import { CORRUPT, Reader } from './reader.ts'
import { isRefused, isUnable, send, sendPatiently, sendTo } from './redis-port.ts'
import type { Packer } from './serializer.ts'
import { settle } from './settle.ts'
import { namespaceTag, tagsOf, versionTag } from './tag-names.ts'

export interface GetOrSetOptions extends EntryOptions {
  /** What the value hangs on: `invalidateTags` of one of them ends it. At most 128. */
  tags?: string | readonly string[]
}

export type SetOptions = Pick<GetOrSetOptions, 'tags' | 'ttl' | 'staleWhileRevalidate' | 'staleIfError'>

/** What the namespaces of one registration share. */
export interface CacheParts {
  engine: Engine
  space: KeySpace
  options: ResolvedOptions
  packer: Packer
  /** From 0 to 1. Default `Math.random`. */
  random?: () => number
  isClosed: () => boolean
}

/** A cache on Redis, shared by all processes, that never serves a value once its invalidation has been acknowledged. */
export class ScaleCache {
  private readonly parts: CacheParts
  private readonly filler: Filler
  private readonly reader: Reader
  private readonly path: string
  private readonly implicit: readonly string[]
  private readonly valueBase: string
  private readonly leaseBase: string
  private readonly end: string

  /** Made by the plugin and by `namespace()`. */
  constructor(parts: CacheParts, parent?: ScaleCache, path = '') {
    const { engine, packer, options, space, random = Math.random } = parts
    this.parts = parts
    this.filler = parent?.filler ?? new Filler({ engine, packer, options, random })
    this.reader = parent?.reader ?? new Reader(engine, this.filler, packer, options)
    this.path = path
    this.implicit = parent ? [...parent.implicit, namespaceTag(path)] : []
    this.valueBase = `${space.valuePrefix}{${path}:`
    this.leaseBase = `${space.leasePrefix}{${path}:`
    this.end = options.version === undefined ? '}' : `}@${options.version}`
  }

  /**
   * The value of a key; where it is not cached, `loader` gets it, once in the whole cluster for all who ask. The result
   * is what the serializer makes of it, also the first time. Treat it as read-only: what comes from memory is frozen.
   *
   * @throws what the loader throws; SCALE_CACHE_LOADER_TIMEOUT, SCALE_CACHE_LOADER_UNDEFINED,
   * SCALE_CACHE_NOT_SERIALIZABLE, SCALE_CACHE_KEY, SCALE_CACHE_OPTION. Never because Redis is away.
   */
  getOrSet<T>(key: string, loader: Loader<T>, options?: GetOrSetOptions): Promise<T> {
    const { memory, turn } = this.parts.engine.parts
    if (memory?.trusted === true && typeof key === 'string' && key !== '') {
      const now = performance.now()
      if (turn.isRecent(now)) {
        const held = memory.get(this.valueBase + encodeKey(key) + this.end, now)
        if (held !== undefined) return this.reader.fromMemory(key, held) as Promise<T>
      }
    }
    return this.find(key, loader, options) as Promise<T>
  }

  /** The value of a key; `undefined` where it is not cached, is past its ttl, or Redis is away. */
  async get<T = unknown>(key: string): Promise<T | undefined> {
    const k = this.keyOf(key)
    try {
      return (await this.reader.peek(k)) as T | undefined
    } catch (error) {
      if (error instanceof UnavailableError) return undefined
      throw error
    }
  }

  /**
   * Stores a value; loads in flight do not overwrite it. A ttl of 0 deletes the key.
   *
   * @throws SCALE_CACHE_UNAVAILABLE where Redis did not confirm it; SCALE_CACHE_TOO_LARGE,
   * SCALE_CACHE_NOT_SERIALIZABLE, SCALE_CACHE_KEY, SCALE_CACHE_OPTION
   */
  async set(key: string, value: unknown, options: SetOptions = {}): Promise<void> {
    const k = this.keyOf(key)
    const { engine, packer, options: all } = this.parts
    const times = resolveEntryOptions(options, all.entry)
    const tags = tagsOf(this.path, options.tags)
    if (value === undefined) throw new OptionError('the value to set is undefined; use null, or delete the key')
    const packed = await packer.pack(value)
    const bytes = packed.payload.length
    if (bytes > all.maxValueSize)
      throw new TooLargeError(`the value of ${show(key)} has ${bytes} bytes, and maxValueSize is ${all.maxValueSize}`)
    if (times.ttl === 0) return this.delete(key)
    const { port, clock, tags: index, epoch } = engine.parts.writes
    try {
      if (all.version !== undefined) await index.invalidate([this.versionTagOf(key)])
      const prepare = async () => {
        if (k.implicit.length + tags.length > 0) await index.ensure([...k.implicit, ...tags])
        await epoch.guard(k.value)
        const fill = this.filler.fillOf(packed, times.ttl, times, tags)
        const entry = engine.entryOf(fill, await clock.read(k.value))
        const master = port.masters.of(k.value)
        const deadline = await sendTo(port, master, () => master.deadline(port.deadlines.ms))
        return { fill, entry, deadline }
      }
      // What may be done twice is done again where a connection broke. The value itself is sent once: who has seen it may
      // have deleted it since.
      const { fill, entry, deadline } = await retryWithin(
        port.deadlines.ms,
        prepare,
        (error) => !(error instanceof UnavailableError) || isRefused(port, port.masters.of(k.value).breaker),
      )
      const landed = await send(port, k.value, (client) =>
        putScript(client, [k.value, k.lease], [encodeEntry(entry), Math.ceil(keepOf(fill)), deadline]),
      )
      if (landed !== 1) throw new UnavailableError(`Redis was too slow to set ${show(key)}`)
    } finally {
      engine.forget(k)
    }
    await settle(this.parts.options, this.parts.engine.parts.port)
  }

  /**
   * Deletes keys and voids every load of them in flight, in all processes.
   *
   * @throws SCALE_CACHE_UNAVAILABLE where Redis did not confirm it: it may or may not have been done, ask again
   */
  async delete(keys: string | readonly string[]): Promise<void> {
    const { port, tags } = this.parts.engine.parts.writes
    const list = toList(keys)
    // What is wrong with a key is found before anything is under way.
    const versionTags = this.parts.options.version === undefined ? [] : list.map((key) => this.versionTagOf(key))
    const work = this.change(list, (k) => sendPatiently(port, k.value, (client) => client.del(k.value, k.lease)))
    await all([work, versionTags.length === 0 ? Promise.resolve() : tags.invalidate(versionTags)])
    await settle(this.parts.options, this.parts.engine.parts.port)
  }

  /**
   * Makes keys stale: within their staleWhileRevalidate they are still answered while one process reloads. Loads in
   * flight are voided. In a cache with a `version` it reaches that version only.
   *
   * @throws SCALE_CACHE_UNAVAILABLE where Redis did not confirm it
   */
  async expire(keys: string | readonly string[]): Promise<void> {
    const { port } = this.parts.engine.parts.writes
    const now = Buffer.alloc(8)
    now.writeDoubleBE(Date.now())
    await this.change(toList(keys), (k) =>
      sendPatiently(port, k.value, (client) => expireScript(client, [k.value, k.lease], [now])),
    )
    await settle(this.parts.options, this.parts.engine.parts.port)
  }

  /**
   * Invalidates every value that carries one of the tags, those being loaded too.
   *
   * @throws SCALE_CACHE_UNAVAILABLE where Redis did not confirm it; SCALE_CACHE_OPTION
   */
  async invalidateTags(tags: string | readonly string[]): Promise<void> {
    this.checkOpen()
    const names = tagsOf(this.path, tags)
    if (names.length === 0) return
    await this.parts.engine.parts.writes.tags.invalidate(names)
    await settle(this.parts.options, this.parts.engine.parts.port)
  }

  /**
   * Invalidates everything, or everything in this namespace, without touching the entries.
   *
   * @throws SCALE_CACHE_UNAVAILABLE where Redis did not confirm it
   */
  async clear(): Promise<void> {
    this.checkOpen()
    const { epoch, tags } = this.parts.engine.parts.writes
    if (this.path === '') await epoch.clear()
    else await tags.invalidate([namespaceTag(this.path)])
    await settle(this.parts.options, this.parts.engine.parts.port)
  }

  /**
   * A part of the cache with keys and tags of its own, which can be cleared alone.
   *
   * @throws SCALE_CACHE_OPTION
   */
  namespace(name: string): ScaleCache {
    if (typeof name !== 'string' || !/^[\w.-]{1,64}$/.test(name))
      throw new OptionError(`the name of a namespace must be 1 to 64 letters, digits or ._-, but is ${show(name)}`)
    return new ScaleCache(this.parts, this, this.path === '' ? name : `${this.path}/${name}`)
  }

  private async find(key: string, loader: Loader<unknown>, options: GetOrSetOptions | undefined): Promise<unknown> {
    if (typeof loader !== 'function') throw new OptionError(`the loader must be a function, but is ${show(loader)}`)
    const k = this.keyOf(key)
    const { engine } = this.parts
    const { memory } = engine.parts
    const held = memory?.trusted ? await this.reader.remembered(k) : undefined
    if (held) return this.reader.fromMemory(key, held)
    const asked = performance.now()
    let first: Looked | undefined
    let away = false
    try {
      first = await engine.look(k, memory?.trusted ? undefined : tagsOf(this.path, options?.tags))
      if (first.state === 'fresh' && first.entry?.kind === KIND.serialized && !first.entry.compressed) {
        const value = this.reader.fromRedis(k, first.entry)
        if (value !== CORRUPT) return value
        first = undefined
      }
    } catch (error) {
      if (!isUnable(error)) throw error
      away = true
    }
    const request = {
      key: k,
      path: this.path,
      loader,
      times: options === undefined ? this.parts.options.entry : resolveEntryOptions(options, this.parts.options.entry),
      tags: tagsOf(this.path, options?.tags),
      asked,
    }
    // Not a second look: a call waits for Redis once.
    return away ? this.reader.whileAway(request) : this.reader.find(request, first)
  }

  private keyOf(key: string): EngineKey {
    this.checkOpen()
    const encoded = encodeKey(key)
    return {
      name: this.path === '' ? key : `${this.path}:${key}`,
      value: this.valueBase + encoded + this.end,
      lease: this.leaseBase + encoded + this.end,
      implicit:
        this.parts.options.version === undefined ? this.implicit : [...this.implicit, versionTag(this.path, encoded)],
    }
  }

  private versionTagOf(key: string): string {
    return versionTag(this.path, encodeKey(key))
  }

  /** Changes keys; all are tried, and then the first failure is thrown. */
  private async change(keys: readonly string[], one: (key: EngineKey) => Promise<unknown>): Promise<void> {
    await all(keys.map((key) => this.keyOf(key)).map((k) => one(k).finally(() => this.parts.engine.forget(k))))
  }

  private checkOpen(): void {
    if (this.parts.isClosed()) throw new ClosedError('the cache was closed')
  }
}

/** Waits for all, and then throws the first failure. */
async function all(work: readonly Promise<unknown>[]): Promise<void> {
  for (const one of await Promise.allSettled(work)) if (one.status === 'rejected') throw one.reason
}

function toList(keys: string | readonly string[]): readonly string[] {
  return typeof keys === 'string' ? [keys] : keys
}
