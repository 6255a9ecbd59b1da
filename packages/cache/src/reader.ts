import { corruptChannel, hitChannel, missChannel } from './channels.ts'
import type { Engine, EngineKey, Looked } from './engine.ts'
import { type Entry, KIND, headerOf, mayCoverError, mayRevalidate } from './entry.ts'
import type { Filler, LoadRequest } from './filler.ts'
import type { MemoryEntry } from './l1.ts'
import type { ResolvedOptions } from './options.ts'
import { isUnable } from './redis-port.ts'
import { type Packer, deepFreeze } from './serializer.ts'
import type { Result } from './single-flight.ts'

/** How often a voided load is run again before its result is answered without being cached. */
const MOST_VOIDED = 3
/** How long waiters sleep before they look again where no message wakes them, in ms. */
const POLL_MS = 25

/** Stands for the value of an entry whose payload can't be read. */
export const CORRUPT: unique symbol = Symbol('corrupt')

/** The read side: memory, Redis, a load, in this order. */
export class Reader {
  private readonly engine: Engine
  private readonly filler: Filler
  private readonly packer: Packer
  private readonly frozen: boolean
  private readonly patience: number

  constructor(engine: Engine, filler: Filler, packer: Packer, options: ResolvedOptions) {
    this.engine = engine
    this.filler = filler
    this.packer = packer
    this.frozen = options.l1?.values === 'frozen'
    this.patience = options.loaderTimeout
  }

  /** What process memory holds, after a recent look at the sockets. */
  async remembered(key: EngineKey): Promise<MemoryEntry | undefined> {
    const { memory, turn } = this.engine.parts
    if (!memory?.trusted) return undefined
    if (!turn.isRecent(performance.now())) await turn.wait()
    return memory.get(key.value, performance.now())
  }

  /** The plain value of a fresh entry, or CORRUPT. The way of nearly all hits: nothing in it is asynchronous. */
  fromRedis(key: EngineKey, entry: Entry): unknown {
    try {
      const value = this.packer.unpack(entry)
      hitChannel.publish(() => ({ key: key.name, level: 'l2', stale: false }))
      return value
    } catch (error) {
      return this.corrupt(key, error)
    }
  }

  /** The value, from Redis or from the loader. `first`: what was seen a moment ago. */
  async find(request: LoadRequest, first: Looked | undefined): Promise<unknown> {
    const { key } = request
    const giveUp = performance.now() + this.patience
    let missed = false
    for (let voided = 0; voided <= MOST_VOIDED && performance.now() < giveUp; ) {
      let looked: Looked
      try {
        looked = first ?? (await this.engine.look(key))
        first = undefined
      } catch (error) {
        if (isUnable(error)) return this.whileAway(request)
        throw error
      }
      const { entry, seen } = looked
      if (entry && (looked.state === 'fresh' || mayRevalidate(entry, Date.now()))) {
        const stale = looked.state === 'stale'
        const value = await this.unpack(key, entry)
        if (value !== CORRUPT) {
          if (stale) this.filler.refresh(request, seen)
          hitChannel.publish(() => ({ key: key.name, level: 'l2', stale }))
          return value
        }
        looked = { state: 'none', seen: headerOf(entry) }
      }
      if (!missed) missChannel.publish(() => ({ key: key.name }))
      missed = true
      const covered = looked.entry !== undefined && mayCoverError(looked.entry, Date.now())
      const { outcome, mine, late } = await this.filler.join(request, looked.seen, covered)
      switch (outcome.type) {
        case 'value':
          return this.fromResult(outcome.result)
        case 'unconfirmed':
          if (!late) return this.fromResult(outcome.result)
          break
        case 'uncached':
          return this.fromResult(mine ? outcome.result : await this.filler.alone(request))
        case 'failed':
          if (looked.entry && mayCoverError(looked.entry, Date.now())) {
            const value = await this.unpack(key, looked.entry)
            if (value !== CORRUPT) return value
          }
          throw outcome.error
        case 'away':
          return this.whileAway(request)
        case 'voided':
          voided++
          break
        case 'busy':
          await this.engine.parts.wakes.wait(key.value, Math.min(POLL_MS, Math.max(5, outcome.left)))
          break
        default:
      }
    }
    return this.fromResult(await this.filler.alone(request))
  }

  /** The value that is cached and fresh, or undefined. */
  async peek(key: EngineKey): Promise<unknown> {
    const held = await this.remembered(key)
    if (held) return held.entry.kind === KIND.error ? undefined : this.fromMemory(key.name, held)
    const { state, entry } = await this.engine.look(key)
    if (state !== 'fresh' || entry === undefined || entry.kind === KIND.error) return undefined
    const value = await this.unpack(key, entry)
    return value === CORRUPT ? undefined : value
  }

  /** The value of an entry in memory. */
  fromMemory(name: string, held: MemoryEntry): Promise<unknown> {
    hitChannel.publish(() => ({ key: name, level: 'l1', stale: false }))
    if (!this.frozen || held.entry.kind === KIND.buffer) return this.copy(held.entry)
    return (held.settled ??= this.copy(held.entry).then(deepFreeze))
  }

  private fromResult(result: Result): Promise<unknown> {
    if (!this.frozen || result.entry.kind === KIND.buffer) return this.copy(result.entry)
    return (result.settled ??= this.copy(result.entry).then(deepFreeze))
  }

  private async copy(entry: Entry): Promise<unknown> {
    return this.packer.unpack(entry)
  }

  private async unpack(key: EngineKey, entry: Entry): Promise<unknown> {
    if (entry.kind === KIND.error) return this.packer.unpack(entry)
    try {
      return await this.packer.unpack(entry)
    } catch (error) {
      return this.corrupt(key, error)
    }
  }

  private corrupt(key: EngineKey, error: unknown): typeof CORRUPT {
    const reason = error instanceof Error ? error.message : String(error)
    corruptChannel.publish(() => ({ key: key.name, reason }))
    this.engine.forget(key)
    return CORRUPT
  }

  /** Redis is away: load; where the loader fails too, what was last known, within its staleIfError. */
  async whileAway(request: LoadRequest): Promise<unknown> {
    try {
      return await this.fromResult(await this.filler.away(request))
    } catch (error) {
      const known = this.engine.parts.memory?.lastKnown(request.key.value)
      if (!known || !mayCoverError(known, Date.now())) throw error
      hitChannel.publish(() => ({ key: request.key.name, level: 'l1', stale: true }))
      return this.copy(known)
    }
  }
}
