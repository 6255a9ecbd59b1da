import type { Engine, EngineKey, Load, Looked } from '../engine.ts'
import { KIND, headerOf } from '../entry.ts'
import { encodeKey } from '../key.ts'
import type { IncomingHttpHeaders } from 'node:http'
import { type StoredResponse, type VaryMarker, decodeStored, encodeStored } from './stored.ts'
import { variantKey } from './selection.ts'

/** How long the names in Vary are remembered, in ms. */
const MARKER_MS = 86_400_000
/** The longest time a stale response is kept only to be validated, in ms. */
const VALIDATE_MS = 86_400_000

/** What was found for a request. */
export interface Found {
  /** The key that a load for this request takes its lease on. */
  key: EngineKey
  /** The key that was looked at first: what varies stands there, where more varies than the route says. */
  first: EngineKey
  /** Names that select, where they are known. */
  names: readonly string[]
  stored: StoredResponse | undefined
  /** Header of what stands under `key`. */
  seen: () => Buffer | undefined
  /** Header of what stands under `first`, where that names what varies. */
  markerSeen: () => Buffer | undefined
  level: 'l1' | 'l2'
}

/** Stored responses in the engine: under the first key the response, or what responses differ by and then each variant. */
export class RouteStore {
  private readonly engine: Engine
  private readonly valueBase: string
  private readonly leaseBase: string
  private readonly end: string

  constructor(engine: Engine, prefixes: { value: string; lease: string }, version: string | undefined) {
    this.engine = engine
    // No namespace of a user's begins with '@'.
    this.valueBase = `${prefixes.value}{@route:`
    this.leaseBase = `${prefixes.lease}{@route:`
    this.end = version === undefined ? '}' : `}@${version}`
  }

  /** What memory holds for a request, after a recent look at the sockets; undefined says nothing. */
  remembered(primary: string, headers: IncomingHttpHeaders, vary: readonly string[]): StoredResponse | undefined {
    const { memory, turn } = this.engine.parts
    const now = performance.now()
    if (!memory?.trusted || !turn.isRecent(now)) return undefined
    let held = memory.get(this.valueOf(vary.length === 0 ? primary : variantText(primary, vary, headers)), now)
    let content = held && decodeStored(held.entry)
    if (content && 'vary' in content) {
      held = memory.get(this.valueOf(variantText(primary, content.vary, headers)), now)
      content = held && decodeStored(held.entry)
    }
    return content && !('vary' in content) ? content : undefined
  }

  /** Rejects with SCALE_CACHE_UNAVAILABLE where Redis is away. */
  async find(primary: string, headers: IncomingHttpHeaders, vary: readonly string[]): Promise<Found> {
    const first = vary.length === 0 ? this.keyOf(primary) : this.variantOf(primary, vary, headers)
    const looked = await this.look(first)
    const content = looked.content
    if (content === undefined || !('vary' in content))
      return {
        key: first,
        first,
        names: vary,
        stored: content,
        seen: looked.seen,
        markerSeen: nothing,
        level: looked.level,
      }
    const key = this.variantOf(primary, content.vary, headers)
    const variant = await this.look(key)
    return {
      key,
      first,
      names: content.vary,
      stored: variant.content && !('vary' in variant.content) ? variant.content : undefined,
      seen: variant.seen,
      markerSeen: looked.seen,
      level: variant.level,
    }
  }

  /**
   * Stores a response under the lease that its load holds. Where it names other selecting headers than were known, what
   * varies is stored under the first key, and the response as a variant.
   */
  async save(
    load: Load,
    found: Found,
    primary: string,
    names: readonly string[],
    headers: IncomingHttpHeaders,
    stored: StoredResponse,
    tags: readonly string[],
  ): Promise<boolean> {
    const key = names.length === 0 ? this.keyOf(primary) : this.variantOf(primary, names, headers)
    const ttl = Math.max(0, stored.lifetime - stored.age)
    const canValidate = stored.headers['etag'] !== undefined || stored.headers['last-modified'] !== undefined
    const keep = ttl + Math.max(stored.staleWhileRevalidate, stored.staleIfError, canValidate ? VALIDATE_MS : 0)
    const fill = (content: StoredResponse | VaryMarker, fresh: number, from: Load): Parameters<Load['commit']> => [
      this.engine.entryOf(
        {
          kind: KIND.response,
          compressed: false,
          payload: encodeStored(content),
          tags,
          ttl: fresh,
          staleWhileRevalidate: 0,
          staleIfError: 0,
        },
        load.reading,
      ),
      Math.max(1, from === load && content === stored ? keep : Math.max(keep, fresh)),
    ]
    if (key.value === found.key.value) return load.commit(...fill(stored, ttl, load))
    // What varies is not what was thought: the lease is on another key than the response belongs under.
    const own = await this.engine.begin(key, tags, undefined)
    const saved = own.type === 'load' && (await own.load.commit(...fill(stored, ttl, own.load)))
    const { first } = found
    if (names.length === 0) {
      load.abandon()
      return saved
    }
    const marker: VaryMarker = { vary: names }
    if (found.key.value === first.value) await load.commit(...fill(marker, MARKER_MS, load))
    else {
      load.abandon()
      const over = await this.engine.begin(first, tags, found.markerSeen())
      if (over.type === 'load') await over.load.commit(...fill(marker, MARKER_MS, over.load))
    }
    return saved
  }

  private async look(
    key: EngineKey,
  ): Promise<{ content: StoredResponse | VaryMarker | undefined; seen: Found['seen']; level: Found['level'] }> {
    const { memory, turn } = this.engine.parts
    if (memory?.trusted) {
      if (!turn.isRecent(performance.now())) await turn.wait()
      const held = memory.get(key.value, performance.now())
      const content = held && decodeStored(held.entry)
      if (held && content) return { content, seen: () => headerOf(held.entry), level: 'l1' }
    }
    const looked: Looked = await this.engine.look(key)
    const { entry, seen } = looked
    const content = entry?.kind === KIND.response ? decodeStored(entry) : undefined
    return { content, seen: () => seen ?? (entry && headerOf(entry)), level: 'l2' }
  }

  private valueOf(text: string): string {
    return this.valueBase + encodeKey(text) + this.end
  }

  private keyOf(text: string): EngineKey {
    return {
      name: text,
      value: this.valueOf(text),
      lease: this.leaseBase + encodeKey(text) + this.end,
      implicit: [],
    }
  }

  private variantOf(primary: string, names: readonly string[], headers: IncomingHttpHeaders): EngineKey {
    return this.keyOf(variantText(primary, names, headers))
  }
}

function variantText(primary: string, names: readonly string[], headers: IncomingHttpHeaders): string {
  return `${primary} ${names.join(',')} ${variantKey(names, headers)}`
}

const nothing = (): undefined => undefined
